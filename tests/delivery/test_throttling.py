"""Mail under a limit: what waits, where, for how long, and what passes it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from relay.delivery import holding, pacing, placing
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Receiver, Session

_RATE = 20


class Calls:
    """How many deliveries the store has given out and taken back since."""

    def __init__(self, relay: Outgoing) -> None:
        self.claimed = self.released = 0
        claim, found, release = relay.store.claim, relay.store.claim_found, relay.store.release

        async def claiming(*arguments: Any) -> Any:
            given = await claim(*arguments)
            self.claimed += len(given)
            return given

        async def claiming_found(*arguments: Any) -> Any:
            given = await found(*arguments)
            self.claimed += len(given)
            return given

        async def releasing(owner: Any, deliveries: Any) -> None:
            self.released += len(deliveries)
            await release(owner, deliveries)

        relay.store.claim, relay.store.claim_found = claiming, claiming_found
        relay.store.release = releasing


async def test_a_limit_is_kept_and_other_mail_does_not_wait_for_it(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "rate": f"{_RATE}/s"}, "other": {"pool": "other"}}
    times: list[float] = []

    def note(session: Session, line: str) -> bytes:
        if session.client == "127.0.0.2":
            times.append(asyncio.get_running_loop().time())
        return b"250 ok\r\n"

    async with (
        Receiver({"end": note}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        for _ in range(3 * _RATE):
            await relay.send("b@example.test")
        for _ in range(20):
            await relay.send("c@example.test", configuration_set="other")
        await receiver.until(
            lambda: sum(message.client == "127.0.0.3" for message in receiver.messages) == 20
        )
        throttled = len(receiver.messages) - 20
        assert throttled <= _RATE
        await receiver.until_messages(3 * _RATE + 20)
        await relay.until_empty()
        assert relay.metric("relay_limit_waits_total", level="set", name="main") > 0
    span = times[-1] - times[0]
    assert (len(times) - _RATE) / _RATE - 0.1 <= span <= len(times) / _RATE + 1.0
    windows = [sum(start <= t < start + 1.0 for t in times) for start in times]
    assert max(windows) <= _RATE + 4  # late arrivals: the receiver's clock is not the relay's


async def test_mail_beyond_what_a_throttled_lane_keeps_waits_in_the_store_untouched(
    tmp_path: Path,
) -> None:
    sets = {"main": {"pool": "main", "rate": "10/min"}, "other": {"pool": "other"}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        before = now_ms()
        for _ in range(60):
            await relay.send("b@example.test", lifetime=86_400)

        async def given_back() -> bool:
            return sum(not entry.claimed for entry in await relay.queue()) >= 45

        await relay.until(given_back)
        calls = Calls(relay)
        relay.scheduler.wake()
        for _ in range(3):
            await relay.scheduler._claiming._claim()
        assert (calls.claimed, calls.released) == (0, 0)
        waiting = [entry for entry in await relay.queue() if not entry.claimed]
        assert len(waiting) >= 45
        assert all(before <= entry.due_at <= now_ms() for entry in waiting)  # as it was
        assert all(entry.attempts == 0 for entry in waiting)
        assert len(relay.scheduler._claims) <= 15


async def test_a_used_up_quota_leaves_room_for_other_mail(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "quota": 5}, "other": {"pool": "other"}}
    bounds = {"working_set": 20}
    async with (
        Receiver() as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, configuration_sets=sets, delivery=bounds)
        ) as relay,
    ):
        for _ in range(40):
            await relay.send("b@example.test", lifetime=200_000)
        for _ in range(40):
            await relay.send("c@example.test", configuration_set="other")
        await receiver.until_messages(45)

        async def settled() -> bool:
            return len(await relay.queue()) == 35 and not any(
                entry.claimed for entry in await relay.queue()
            )

        await relay.until(settled)
        calls = Calls(relay)
        for _ in range(3):
            await relay.scheduler._claiming._claim()
        assert (calls.claimed, calls.released) == (0, 0)


async def test_a_thousand_lanes_under_one_limit_do_not_all_ask_at_once(tmp_path: Path) -> None:
    sets = {"main": {"pool": "main", "rate": "100/s"}, "other": {"pool": "other"}}
    bounds = {"connections": 50, "idle_timeout": "200ms"}
    async with Receiver() as receiver:
        routes = {f"d{n}.test": {"to": receiver.address} for n in range(200)}
        config = make_config(tmp_path, routes=routes, configuration_sets=sets, delivery=bounds)
        async with Outgoing(config) as relay:
            admit, asked = relay.limits.admit, []

            async def counting(*arguments: Any) -> Any:
                asked.append(arguments)
                return await admit(*arguments)

            relay.limits.admit = counting  # type: ignore[method-assign]
            for n in range(200):
                await relay.send(f"b@d{n}.test")
            await receiver.until_messages(200)
            await relay.until_empty()
            assert len(asked) < 3 * 200


async def test_mail_does_not_wait_for_the_quota_of_one_source_while_another_is_free(
    tmp_path: Path,
) -> None:
    pools = {
        "main": {"sources": [{"address": "127.0.0.2", "quota": 5}, {"address": "127.0.0.4"}]},
        "other": {"sources": [{"address": "127.0.0.3"}]},
    }
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, pools=pools)) as relay,
    ):
        await asyncio.gather(*(relay.send("b@example.test") for _ in range(60)))
        await receiver.until_messages(60)
        await relay.until_empty()
    clients = [message.client for message in receiver.messages]
    assert (clients.count("127.0.0.2"), clients.count("127.0.0.4")) == (5, 55)


async def test_mail_under_a_rate_too_slow_for_memory_goes_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one a minute does, on a scale of seconds: what waits in the store for its turn has it."""
    for module in (pacing, holding, placing):
        monkeypatch.setattr(module, "KEEP_SECONDS", 0.2)
    sets = {"main": {"pool": "main", "rate": "2/s"}, "other": {"pool": "other"}}
    async with Receiver() as receiver:
        routes = {f"d{n}.test": {"to": receiver.address} for n in range(4)}
        config = make_config(tmp_path, routes=routes, configuration_sets=sets)
        async with Outgoing(config) as relay:
            for n in range(4):
                await relay.send(f"b@d{n}.test")
            await receiver.until_messages(4, seconds=30)
            await relay.until_empty()


async def test_a_turn_that_has_come_by_the_time_it_is_counted_disturbs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine time passes between two looks at the clock: no wait is counted then."""

    def just_gone(self: pacing.Pacing, *arguments: Any, now: float) -> float:
        return now - 0.001

    monkeypatch.setattr(pacing.Pacing, "ask_at", just_gone)
    sets = {"main": {"pool": "main", "rate": "20/s"}}
    async with (
        Receiver() as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, configuration_sets=sets)) as relay,
    ):
        for _ in range(3):
            await relay.send("b@example.test")
        await relay.until_empty()
        assert not relay.lines.of("a connection worker failed")
    assert len(receiver.messages) == 3
