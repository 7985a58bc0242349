"""The scenarios of `bench.simulation`, small: what they show at length holds in the short run."""

import asyncio

import pytest

from bench.simulation import blocked, fairness, limits, recovery, warmup
from bench.simulation.clock import BEGAN_MS, Stalled, run, virtual_loop
from bench.simulation.figures import jain, most_in_window, per_interval, percentile
from bench.simulation.provider import BLOCKED, TAKEN, TOO_FAST, Provider, Rules


def test_a_day_passes_at_once_and_in_order() -> None:
    async def wait() -> tuple[list[str], float, int]:
        happened: list[str] = []
        loop = virtual_loop()
        loop.call_later(86_400.0, happened.append, "a day")
        loop.call_later(1.0, happened.append, "a second")
        await asyncio.sleep(100_000.0)
        return happened, loop.time(), loop.wall()

    happened, now, wall = run(wait())
    assert happened == ["a second", "a day"]
    assert now == pytest.approx(100_000.0)
    assert wall == BEGAN_MS + 100_000_000


def test_waiting_for_what_never_happens_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.simulation.clock._PATIENCE", 0.01)

    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Stalled):
        run(wait())


def test_a_provider_counts_in_every_window_and_forgets_what_it_refused() -> None:
    provider = Provider("north", Rules(rates=((2, 1.0), (3, 60.0))))
    said = [provider.mail("192.0.2.1", 1, at) for at in (0.0, 0.5, 0.9, 1.0, 1.6, 60.0)]
    assert said == [TAKEN, TAKEN, TOO_FAST, TAKEN, TOO_FAST, TAKEN]
    assert provider.mail("192.0.2.2", 2, 0.9) == TAKEN
    provider.blocked.add("192.0.2.2")
    assert provider.mail("192.0.2.2", 1, 99.0) == BLOCKED


def test_the_figures_are_what_they_say() -> None:
    assert most_in_window([0.0, 0.4, 0.9, 1.0, 1.8], 1.0) == 3
    assert most_in_window([], 1.0) == 0
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([7.0], 0.5) == 7.0
    assert jain([5, 5, 5, 5]) == 1.0
    assert jain([9, 0, 0]) == pytest.approx(1 / 3)
    assert per_interval([0.0, 1.5, 1.9, 9.0], 1.0, 2.0) == [1, 2, 0]


def test_no_limit_of_a_provider_is_exceeded_in_any_window() -> None:
    outcome = run(limits.play(days=0.25, blast=300))
    assert outcome.refusals == 0
    assert outcome.taken > 600
    for watched in outcome.watched:
        assert watched.most <= watched.allowed, watched
    # Two workers share two connections: neither takes the other's while both wait for the rate.
    assert outcome.opened["south"] < len(outcome.moments["south"]) / 10
    reached = {(w.provider, w.limit) for w in outcome.watched if w.most >= 0.75 * w.allowed}
    assert ("south", "60 recipients in a minute") in reached
    assert ("west", "2 recipients in a second") in reached


def test_a_new_address_sends_each_day_what_that_allows_and_a_warm_one_the_rest() -> None:
    outcome = run(warmup.play(days=4, first=10, target=60, demand=90, last=6.0))
    assert [day.number for day in outcome.days] == [1, 2, 3, 4]
    assert [day.allowance for day in outcome.days] == list(outcome.planned)
    assert outcome.excess <= 0
    assert outcome.completed_after == pytest.approx(4.0, abs=0.1)
    for day in outcome.days:
        assert day.sent >= 0.9 * day.allowance, day
    assert outcome.latency < 5.0  # nothing waits for an allowance


def test_after_a_complaint_mail_goes_slower_and_does_not_snap_back() -> None:
    outcome = run(recovery.play(allowed=60, hours=1.5))
    assert outcome.rounds
    assert outcome.shortest_peace > 600
    assert outcome.refused_share < 0.01
    assert outcome.used > 0.6
    cuts = [
        (before, after)
        for (_, before), (_, after) in zip(outcome.rates, outcome.rates[1:], strict=False)
        if after < before
    ]
    assert cuts
    for before, after in cuts:
        assert after <= 0.55 * before


def test_a_blocked_address_costs_no_mail_and_the_other_pool_notices_nothing() -> None:
    outcome = run(blocked.play(hours=8.0, blocked=(1.0, 2.0), each=30.0))
    assert outcome.bounced == 0
    assert len(outcome.offered) <= 3
    assert outcome.latency("two") < 2.0
    assert outcome.latency("one", 0.95) < 2.0
    assert not any(
        a.source == blocked.THIRD for a in outcome.arrivals if a.configuration_set == "one"
    )
    assert not any(
        a.source != blocked.THIRD for a in outcome.arrivals if a.configuration_set == "two"
    )
    # The other provider goes on taking mail from the address; the one that blocked it does again.
    start, end = outcome.blocked
    assert any(start < at < end for at in outcome.sent(blocked.FIRST, "south"))
    assert any(at > end for at in outcome.sent(blocked.FIRST, "north"))


def test_a_campaign_that_overflows_the_memory_delays_no_other_mail() -> None:
    outcome = run(fairness.transactional(campaign=2_500, seconds=20.0))
    assert len(outcome.by_set["campaign"]) == 2_500
    assert percentile(outcome.by_set["campaign"], 0.99) > 30.0
    for name in fairness.TRANSACTIONAL:
        assert max(outcome.by_set[name]) < 2.0, name


def test_equal_campaigns_have_equal_shares_of_what_a_source_may_send() -> None:
    assert run(fairness.equals(each=200)).index > 0.95
