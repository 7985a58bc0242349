from dataclasses import replace

from relay.admin.control import (
    ExplainedHost,
    ExplainedKey,
    ExplainedSource,
    Explanation,
    Health,
    LimitStatus,
    ListenerStatus,
    Reloaded,
)
from relay.feedback.restraints import Restraint
from relay.store.values import SuppressionEntry
from tests.admin.stored import NOW


def test_the_status_is_for_people_and_programs(run, running):
    relay, _ = running
    relay.listeners = (ListenerStatus("main", "127.0.0.1:2587", "starttls", 3),)
    ran = run("status")
    assert ran.code == 0
    assert "relay.test, process 4711" in ran.out
    assert "127.0.0.1:2587" in ran.out
    assert run("status", "--json").json["listeners"][0]["connections"] == 3


def test_a_relay_that_is_not_ready_exits_1_with_the_reason(run, running):
    relay, _ = running
    relay.ready = Health(False, ("draining",))
    ran = run("status")
    assert ran.code == 1
    assert "draining" in ran.out


def test_the_status_says_since_when_the_store_is_away_and_why(run, running):
    relay, _ = running
    assert "store " not in run("status").out
    relay.store_error = "The database db/relay does not answer."
    shown = run("status").out
    assert "not reached since 2023-11-14" in shown
    assert "does not answer" in shown


def test_a_reload_says_which_configuration_is_in_force(run, running):
    assert run("reload").out == "reloaded: configuration 2 is in force\n"


def test_warnings_of_a_reload_are_shown(run, running):
    relay, _ = running
    relay.reloaded = Reloaded(True, 3, ("relay.yaml:9:3: warning: tls: expires soon",))
    ran = run("reload")
    assert ran.code == 0
    assert "expires soon" in ran.err


def test_a_refused_reload_exits_1_with_every_problem(run, running):
    relay, _ = running
    relay.reloaded = Reloaded(False, 1, ("relay.yaml:3:1: one", "relay.yaml:4:1: two"))
    ran = run("reload")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "relay.yaml:3:1: one",
        "relay.yaml:4:1: two",
        "relay: refused; configuration 1 stays in force",
    ]
    assert run("reload", "--json").json["accepted"] is False


EXPLANATION = Explanation(
    sender="app@sender.test",
    recipient="a@one.test",
    identity="sender.test",
    configuration_set="news",
    configuration_set_from="the identity",
    keys=(ExplainedKey("sender.test", "relay1", "rsa-sha256"),),
    suppression=SuppressionEntry("a@one.test", "bounce", "bounce", NOW),
    pool="main",
    sources=(
        ExplainedSource("127.0.0.2", "relay.test", 1),
        ExplainedSource("127.0.0.9", "relay.test", 1, "this host does not have the address"),
    ),
    route="*",
    destination="mx",
    hosts=(ExplainedHost("mx.one.test", "192.0.2.1", 25),),
    tls="opportunistic",
    limits=(LimitStatus("set:news", "rate", "50/s", 12),),
    reactions=(
        Restraint(
            "127.0.0.2", "mx.one.test", "", "pause", "too-busy", "421 busy", NOW, NOW + 60_000
        ),
    ),
)


def test_an_explanation_has_every_decision_and_each_reason(run, running):
    relay, _ = running
    relay.explanation = replace(EXPLANATION, carried_by=("b", "c"))
    ran = run("explain", "app@sender.test", "a@one.test", "--configuration-set", "news")
    assert ran.code == 0
    for text in (
        "news (the identity)",
        "relay1 at sender.test rsa-sha256",
        "accepted and not sent",
        "this host does not have the address",
        "b, c: this node has no address of the pool",
        "mx.one.test",
        "opportunistic",
        "set:news",
        "too-busy",
    ):
        assert text in ran.out


def test_an_explained_refusal_exits_1(run, running):
    relay, _ = running
    relay.explanation = replace(EXPLANATION, refusal="554 5.7.1 no such identity", keys=())
    ran = run("explain", "app@sender.test", "a@one.test")
    assert ran.code == 1
    assert "554 5.7.1" in ran.out


def test_an_explanation_is_json_for_programs(run, running):
    found = run("explain", "app@sender.test", "A@One.test", "--json").json
    assert found["recipient"] == "A@one.test"
    assert found["suppression"] is None


def test_what_is_no_address_is_told(run, config_path):
    ran = run("explain", "app", "a@one.test")
    assert ran.code == 1
    assert "FROM 'app' is not an address" in ran.err
