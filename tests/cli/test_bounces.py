"""`relay bounces`: with and without a running relay."""

import asyncio
import stat

import pytest

from relay.cli.return_path_records import check_domain
from relay.cli.txt_records import LookupFailed
from relay.config.shipped import shipped_text
from relay.signing.return_path_keys import FILE_NAME, read_keys
from relay.store.sqlite import SqliteStore
from relay.store.values import UnclassifiedReply
from tests.admin.stored import NOW

UNKNOWN = "550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown"
KEPT = UnclassifiedReply("550 flurb #", "rcpt", "google", 3, NOW, NOW, "550 flurb 7")


def test_a_reply_is_classified_without_a_running_relay(run, config_path):
    ran = run("bounces", "classify", UNKNOWN)
    assert ran.code == 0
    for words in ("mailbox_unknown", "it bounces", "Permanent/NoEmail", "is dead"):
        assert words in ran.out
    found = run("bounces", "classify", UNKNOWN, "--json").json
    assert found["hard_bounce"] is True
    assert found["rule"] == "mailbox-unknown"


def test_the_phase_and_the_recipient_matter(run, config_path):
    words = ("bounces", "classify", UNKNOWN, "--phase", "final", "--json")
    assert run(*words).json["hard_bounce"] is False
    assert run(*words, "--recipient", "bob@example.org").json["hard_bounce"] is True


def test_a_rule_of_the_configuration_is_asked_first(run, config_path):
    rule = "{name: mine, text: user unknown, category: mailbox_full, try_again: true, attempts: 4}"
    config_path.write_text(config_path.read_text() + f"bounces: {{rules: [{rule}]}}\n")
    ran = run("bounces", "classify", UNKNOWN)
    assert "mine" in ran.out
    assert "4 attempts in all" in ran.out


def test_a_reply_that_no_rule_knows_exits_1(run, config_path):
    ran = run("bounces", "classify", "550 5.0.9 flurb")
    assert ran.code == 1
    assert "none knows it" in ran.out


def test_the_shipped_rules_are_printed_as_they_are(run):
    assert run("bounces", "show").out == shipped_text("bounces.yaml")


def test_unclassified_replies_are_listed_and_forgotten_without_a_running_relay(
    run, config_path, tmp_path
):
    async def keep():
        store = SqliteStore(tmp_path / "data")
        await store.open()
        await store.unclassified.add([KEPT], 10)
        await store.close()

    asyncio.run(keep())
    ran = run("bounces", "unclassified")
    assert "550 flurb #" in ran.out
    assert run("bounces", "unclassified", "--json").json[0]["count"] == 3
    assert run("bounces", "unclassified", "--clear").out == "forgot 1 reply\n"
    assert "every refusal was known" in run("bounces", "unclassified").out
    assert run("bounces", "unclassified", "--limit", "0").code == 1


def test_a_running_relay_answers_for_its_store(run, running):
    assert "every refusal was known" in run("bounces", "unclassified").out


def test_a_key_is_made_and_older_ones_are_kept(run, config_path, tmp_path):
    for number in range(3):
        assert f"made key {number + 1}" in run("bounces", "rotate-key").out
    assert [key.number for key in read_keys(tmp_path / "data")] == [3, 2, 1, 0]
    assert stat.S_IMODE((tmp_path / "data" / FILE_NAME).stat().st_mode) == 0o600


def test_without_a_mail_from_there_is_nothing_to_check(run, config_path):
    ran = run("bounces", "check")
    assert (ran.code, ran.out) == (0, "no identity has a mail_from\n")


SOURCES = ["192.0.2.1", "2001:db8::1"]


@pytest.mark.parametrize(
    ("records", "mx", "problem"),
    [
        (["v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"], ["mx.example.net"], ""),
        (["v=spf1 +ip4:192.0.2.1 ip6:2001:db8::1 ~all", "other"], ["mx.example.net"], ""),
        (["v=spf1 ip4:192.0.2.1 -all"], ["mx.example.net"], "does not allow 2001:db8::1"),
        (["v=spf1 -ip4:192.0.2.1 ip6:2001:db8::1 -all"], ["mx"], "does not allow 192.0.2.1"),
        (["v=spf1 ip4:nonsense -all"], ["mx"], "does not allow 192.0.2.1, 2001:db8::1"),
        (["other"], ["mx.example.net"], "no SPF record"),
        (["v=spf1 -all", "v=spf1 +all"], ["mx.example.net"], "2 SPF records"),
        (["v=spf1 +all"], [], "no MX record"),
        (["v=spf1 +all"], [""], "no MX record"),
    ],
)
def test_what_dns_lacks_is_told(records, mx, problem):
    found = check_domain(
        "bounce.example.net", ("example.net",), SOURCES, lambda _: records, lambda _: mx
    )
    assert found.ok is (problem == "")
    assert problem in "; ".join(found.problems)
    assert found.notes == ()


def test_what_an_spf_record_includes_is_not_judged():
    found = check_domain(
        "bounce.example.net",
        ("example.net",),
        SOURCES,
        lambda _: ["v=spf1 include:_spf.example.com -all"],
        lambda _: ["mx"],
    )
    assert found.ok
    assert "only by what it refers to" in found.notes[0]


def test_a_domain_beside_the_identitys_is_told_to_rest_on_dkim():
    found = check_domain(
        "bounces.example.com", ("shop@example.net",), [], lambda _: ["v=spf1"], lambda _: ["mx"]
    )
    assert found.ok
    assert "DKIM alone" in found.notes[0]


def test_dns_that_does_not_answer_is_a_problem():
    def fails(name):
        raise LookupFailed(f"DNS gave no answer for {name}")

    found = check_domain("bounce.example.net", (), SOURCES, fails, fails)
    assert found.problems == ("DNS gave no answer for bounce.example.net",)
