"""`relay tls`: with and without a running relay."""

import json
import re

from relay.store.tls_values import DAY_MS, StoredPolicy, TlsOutcome, TlsTally
from tests.admin.stored import NOW

_TODAY = NOW // DAY_MS


def _store(relay, on_its_loop) -> None:
    store = relay.operations.store
    policy = StoredPolicy("a.test", "1", "enforce", ("mx.a.test",), 86400, NOW, NOW)
    on_its_loop(store.sts_policies.put(policy))
    bad = TlsTally(TlsOutcome("a.test", "sts", "a.test", result="certificate-expired"), 2)
    on_its_loop(store.tls_tallies.add(_TODAY - 1, [bad], 100))


def test_policies_are_listed(run, running) -> None:
    assert "no policy is known" in run("tls", "policies").out
    _store(*running)
    said = run("tls", "policies").out
    assert "a.test" in said
    assert "enforce" in said


def test_counts_are_listed_without_a_running_relay(run, config_path) -> None:
    assert "nothing was counted" in run("tls", "counts").out


def test_counts_and_a_report_are_shown(run, running) -> None:
    _store(*running)
    (line,) = json.loads(run("tls", "counts", "--json").out)
    assert (line["domain"], line["failures"]) == ("a.test", 2)
    said = run("tls", "counts", "a.test").out
    assert "a.test" in said
    day = re.search(r"\d{4}-\d\d-\d\d", said)[0]
    report = json.loads(run("tls", "report", "a.test", "--day", day).out)
    assert report["policies"][0]["failure-details"][0]["result-type"] == "certificate-expired"


def test_a_report_of_a_day_that_is_none_is_refused(run, running) -> None:
    assert "is no date" in run("tls", "report", "a.test", "--day", "yesterday").err
    ran = run("tls", "report", "a.test", "--day", "1990-01-01")
    assert ran.code == 1
    assert "no session" in ran.err


def test_show_asks_the_running_relay(run, running) -> None:
    said = run("tls", "show", "a.test").out
    assert "nothing" in said
    assert "until" not in said  # there is no policy that could end


def test_show_needs_a_running_relay(run, config_path) -> None:
    assert run("tls", "show", "a.test").code == 3
