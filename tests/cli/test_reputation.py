import pytest

from relay.store.log_values import Filing, Tally
from tests.admin.stored import NOW as ADMIN_NOW

HOUR = 3_600_000


@pytest.fixture
def judged(filed, monkeypatch):
    """Tallies of now; a store that no relay has open goes by the wall clock."""
    monkeypatch.setattr("relay.cli.desk.utc_ms", lambda: ADMIN_NOW)
    now = ADMIN_NOW // HOUR
    filed(
        Filing(
            "o",
            1,
            tallies=(
                Tally("account", now, 10_400, 130, 1),
                Tally("set:news", now - 1, 300, 30),
                Tally("set:news", now, 100, 95),
                Tally("set:bills", now, 10_000, 5, 1),
            ),
        )
    )


def test_nothing_that_counts_is_said(run, anywhere):
    assert run("reputation").out == "nothing was sent that counts\n"


def test_all_are_listed_with_their_rates(run, judged):
    rows = {line.split()[0]: line for line in run("reputation").out.splitlines()[2:]}
    assert list(rows) == ["account", "set:bills", "set:news"]
    assert "130 (1.25 %)" in rows["account"]
    assert "healthy" in rows["account"]
    assert "125 (31.25 %)" in rows["set:news"]
    assert "bad: bounces" in rows["set:news"]


def test_one_is_shown_with_what_it_takes_to_heal(run, judged):
    out = run("reputation", "show", "set:news").out
    assert "125 hard (31.25 %)" in out
    assert "bounces: warned at 5 %, paused at 10 %, from 200 recipients on" in out
    assert "good recipients more for bounces" in out
    assert len(run("reputation", "show", "set:news", "--json").json["hours"]) == 2
    ran = run("reputation", "show", "set:mail")
    assert ran.code == 1
    assert "there: account, set:bills, set:news" in ran.err


def test_a_stream_is_paused_by_hand_and_resumed_with_a_fresh_start(run, judged):
    ran = run("reputation", "pause", "set:news", "--reason", "wrong list")
    assert "set:news is paused" in ran.out
    assert "is paused already" in run("reputation", "pause", "set:news", "--reason", "x").err
    shown = run("reputation", "show", "set:news").out
    assert "wrong list" in shown
    assert "set:news is resumed, with a fresh start" in (
        run("reputation", "resume", "set:news", "--reason", "cleaned").out
    )
    (standing,) = [
        one for one in run("reputation", "--json").json if one["dimension"] == "set:news"
    ]
    assert standing["pause"] is None
    assert standing["volume"]["sent"] == 0
    ran = run("reputation", "resume", "set:news", "--reason", "again")
    assert ran.code == 1
    assert "set:news is not paused" in ran.err


def test_only_streams_that_exist_can_be_paused(run, anywhere):
    ran = run("reputation", "pause", "account", "--reason", "x")
    assert "allowed is set:NAME or credential:NAME" in ran.err
    assert "no set nowhere" in run("reputation", "pause", "set:nowhere", "--reason", "x").err
    assert run("reputation", "pause", "credential:app", "--reason", "x").code == 0
    assert "say why" in run("reputation", "pause", "set:bills", "--reason", " ").err


def test_a_fresh_start_leaves_out_what_was(run, judged):
    run("reputation", "fresh-start", "account")
    assert "0 recipients" in run("reputation", "show", "account").out
    ran = run("reputation", "fresh-start", "set:newz")
    assert ran.code == 1
    assert "no mail of set:newz counts" in ran.err
