from relay.cli.reactions import parse_reply
from relay.config.shipped import shipped_text
from relay.feedback.restraints import Restraint
from tests.admin.stored import NOW

SLOW = Restraint(
    source="192.0.2.1",
    line="google",
    provider="google",
    action="slow_down",
    rule="google-rate",
    reply="421 4.7.28 Our system has detected an unusual rate",
    since=NOW,
    level=0.5,
    base=20.0,
)
TSS04 = "421 4.7.0 [TSS04] Messages from 192.0.2.25 temporarily deferred due to user complaints"


def test_what_is_in_force_is_listed_with_its_rule_and_the_reply_that_caused_it(run, running):
    relay, _ = running
    relay.restraints = [SLOW]
    for words in (("reactions",), ("reactions", "list")):
        ran = run(*words)
        assert ran.code == 0
        for text in ("192.0.2.1", "slow_down", "30/min of 20/s", "google-rate", "421 4.7.28"):
            assert text in ran.out
    assert run("reactions", "list", "--json").json[0]["level"] == 0.5


def test_nothing_in_force_is_said_in_words(run, running):
    assert run("reactions").out == "nothing is held back\n"


def test_clearing_lifts_what_is_in_force(run, running):
    relay, _ = running
    relay.restraints = [SLOW]
    assert run("reactions", "clear", "192.0.2.1", "google").out == "lifted: 1 reaction\n"
    assert relay.restraints == []
    ran = run("reactions", "clear", "192.0.2.1", "google")
    assert ran.code == 1
    assert "nothing holds 192.0.2.1 back for google" in ran.err


def test_a_reply_is_tried_without_a_running_relay(run, config_path):
    ran = run("reactions", "test", TSS04)
    assert ran.code == 0
    assert "yahoo-deferred (shipped)" in ran.out
    assert "slow_down" in ran.out
    found = run("reactions", "test", TSS04, "--json").json
    assert (found["rule"], found["seconds"]) == ("yahoo-deferred", 900.0)


def test_a_rule_of_the_configuration_is_tried_first_and_for_its_provider(run, config_path):
    rule = "- {name: mine, code: 421, provider: acme, action: bounce}"
    acme = "providers: {acme: {domains: [acme.test]}}"
    config_path.write_text(config_path.read_text() + f"{acme}\nreactions:\n{rule}\n")
    assert "mine (configuration)" in run("reactions", "test", TSS04, "--provider", "acme").out
    assert "yahoo-deferred" in run("reactions", "test", TSS04).out


def test_the_delay_that_a_peer_names_is_shown(run, config_path):
    ran = run("reactions", "test", "451 4.7.1 Greylisted, try again in 120 seconds")
    assert "2m" in ran.out


def test_a_reply_that_meets_no_rule_exits_1(run, config_path):
    ran = run("reactions", "test", "550 5.1.1 No such user")
    assert ran.code == 1
    assert "no rule is met" in ran.out


def test_what_is_no_reply_is_told(run, config_path):
    ran = run("reactions", "test", "try later")
    assert ran.code == 1
    assert "a reply begins with its code" in ran.err


def test_a_reply_of_several_lines_is_read_as_one():
    reply = parse_reply("421-4.7.28 Our system has detected\n421 4.7.28 an unusual rate")
    assert (reply.code, reply.enhanced) == (421, "4.7.28")
    assert reply.text == "Our system has detected an unusual rate"


def test_the_shipped_rules_are_printed_as_they_are(run, config_path):
    assert run("reactions", "show").out == shipped_text("reactions.yaml")
