"""All destinations together: cursors that are stored, reloads, and what operators ask."""

import asyncio
import io
from random import Random

import pytest

from relay.config.model import Config
from relay.events import telling as telling_module
from relay.events.desk import EventDesk
from relay.events.patience import Failed, Refused
from relay.events.telling import EventTelling, UnknownDestination
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.interface import StoreError
from relay.store.log_interface import FiledElsewhere
from relay.store.log_values import TellingCursor
from tests.events.telling_world import HOSTNAME, NOW, MemoryLog, Receiver
from tests.limits.simulation import simulate


def config(**events) -> Config:
    """A configuration whose set `news` lists all of the destinations."""
    made = {
        name: {"type": "webhook", "url": "https://hooks.test/", **more}
        for name, more in events.items()
    }
    return Config.model_validate(
        {
            "hostname": HOSTNAME,
            "data_dir": "/nowhere",
            "tls": {"certificate": "/c.pem", "key": "/k.pem"},
            "listeners": {"main": {"address": "127.0.0.1:2525"}},
            "credentials": {"app": {}},
            "identities": {"sender.test": {}},
            "configuration_sets": {"news": {"pool": "main", "events": list(made)}},
            "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
            "events": made,
        }
    )


class Relay:
    """An `EventTelling` whose destinations are receivers of this test, by name."""

    def __init__(self, monkeypatch, log=None, **events) -> None:
        self.log = log or MemoryLog()
        self.receivers: dict[str, Receiver] = {}
        self.logged = io.StringIO()
        self.metrics = Metrics()
        self._task = None
        monkeypatch.setattr(telling_module, "make_destination", self._make)
        self.telling = EventTelling(
            log=self.log,
            config=config(**events),
            metrics=self.metrics,
            logger=make_logger(stream=self.logged),
            clock=lambda: NOW,
            wall=lambda: NOW,
            rng=Random(1),
        )
        self.desk = EventDesk(self.telling, self.log, HOSTNAME, lambda: NOW)

    def _make(self, name, settings, counters, wall):
        return self.receivers.setdefault(name, Receiver())

    async def start(self):
        await self.telling.open()
        for name in self.telling._config.events:
            self._make(name, None, None, None)
        self._task = asyncio.create_task(self.telling.run())
        await asyncio.sleep(0.1)

    def happen(self, *messages, **others):
        self.log.happen(*messages, **others)
        self.telling.wake()

    async def stop(self):
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def until(self, holds):
        for _ in range(100_000):
            if holds():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(self.logged.getvalue())


@pytest.fixture
def play(monkeypatch):
    def scene(act, log=None, **events):
        async def main():
            relay = Relay(monkeypatch, log, **events)
            await relay.start()
            await act(relay)
            if not relay._task.done():
                await relay.stop()
            assert relay._task.cancelled(), relay.logged.getvalue()

        simulate(main)

    return scene


def test_one_that_is_new_is_told_what_happens_from_then_on(play):
    log = MemoryLog()
    log.happen("old")

    async def act(relay):
        relay.happen("new")
        await relay.until(lambda: relay.receivers["a"].told)
        assert relay.receivers["a"].told == ["event-2"]

    play(act, log, a={})


def test_one_that_is_down_delays_no_other(play):
    async def act(relay):
        relay.receivers["down"].down = True
        relay.happen(*(f"m{number}" for number in range(100)))
        await relay.until(lambda: len(relay.receivers["up"].told) == 100)
        assert relay.receivers["down"].told == []

    play(act, up={}, down={})


def test_cursors_are_stored_and_a_restart_goes_on_from_them(play):
    log = MemoryLog()

    async def first(relay):
        relay.happen("a", "b")
        await relay.until(lambda: log.stored.get("hook") == TellingCursor("hook", 2))

    async def second(relay):
        relay.happen("c")
        await relay.until(lambda: relay.receivers["hook"].told)
        assert relay.receivers["hook"].told == ["event-3"]

    play(first, log, hook={})
    play(second, log, hook={})


def test_what_was_told_is_stored_when_it_ends(play):
    log = MemoryLog()

    async def act(relay):
        relay.happen("a")
        await relay.until(lambda: relay.receivers["hook"].told)

    play(act, log, hook={})
    assert log.stored["hook"].upto == 1


def test_while_the_log_cannot_be_written_telling_goes_on(play):
    async def act(relay):
        relay.happen("a")
        await relay.until(lambda: relay.receivers["hook"].told)
        relay.log.fails = True
        await asyncio.sleep(5)
        relay.log.fails = False
        relay.happen("b")
        await relay.until(lambda: len(relay.receivers["hook"].told) == 2)

    play(act, hook={})


def test_a_log_that_has_lost_its_end_is_told_from_where_it_is(play):
    log = MemoryLog()
    log.happen("a")
    log.stored["hook"] = TellingCursor("hook", 500)

    async def act(relay):
        relay.happen("b")
        await relay.until(lambda: relay.receivers["hook"].told)
        assert relay.receivers["hook"].told == ["event-2"]
        assert "has lost events" in relay.logged.getvalue()

    play(act, log, hook={})


def test_a_reload_adds_one_and_leaves_the_others_alone(play):
    async def act(relay):
        relay.happen("a")
        await relay.until(lambda: relay.receivers["one"].told)
        await relay.telling.configure(config(one={}, two={}))
        relay.happen("b")
        await relay.until(lambda: relay.receivers.get("two") and relay.receivers["two"].told)
        await relay.until(lambda: len(relay.receivers["one"].told) == 2)
        assert relay.receivers["two"].told == ["event-2"]
        assert not relay.receivers["one"].closed

    play(act, one={})


def test_a_reload_that_changes_one_goes_on_where_it_was(play):
    async def act(relay):
        relay.happen("a")
        await relay.until(lambda: relay.receivers["one"].told)
        await relay.telling.configure(config(one={"concurrency": 3}))
        relay.happen("b")
        await relay.until(lambda: len(relay.receivers["one"].told) == 2)
        assert relay.receivers["one"].told == ["event-1", "event-2"]

    play(act, one={})


def test_a_reload_while_the_log_cannot_be_written_loses_nothing(play):
    async def act(relay):
        relay.receivers["one"].down = True
        relay.happen("a", "b")
        await relay.until(lambda: relay.receivers["one"].tried)
        real = relay.log.put_cursors

        async def full(cursors):
            raise StoreError("the disk is full")

        relay.log.put_cursors = full
        relay.log.stored.clear()
        await relay.telling.configure(config(one={"concurrency": 2}))
        relay.receivers["one"].down = False
        await relay.until(lambda: len(relay.receivers["one"].told) == 2)
        relay.log.put_cursors = real

    play(act, one={})


@pytest.mark.parametrize("write", ["put_cursors", "add_dead_letters"])
def test_who_may_not_write_the_log_any_more_tells_nobody_any_more(monkeypatch, write):
    """Its place would be lost, and whoever has the duty now tells the same."""

    async def refuse(*_):
        raise FiledElsewhere("The duty scribe is not this node's any more.")

    async def main():
        relay = Relay(monkeypatch, one={})
        await relay.start()
        setattr(relay.log, write, refuse)
        relay.receivers["one"].answers["event-1"] = [Refused("no")] * 100
        relay.happen("a")
        with pytest.raises(FiledElsewhere):
            await asyncio.wait_for(relay._task, 86_400)

    simulate(main)


def test_the_place_of_one_that_is_removed_is_stored(play):
    async def act(relay):
        relay.happen("a")
        await relay.until(lambda: relay.receivers["one"].told)
        await relay.telling.configure(config())
        assert relay.log.stored["one"].upto == 1

    play(act, one={})


def test_one_that_was_removed_keeps_its_place_for_a_day(play):
    async def act(relay):
        relay.happen("a")
        await relay.until(lambda: relay.receivers["one"].told)
        await relay.telling.configure(config())
        relay.happen("b")
        await asyncio.sleep(3_600)
        await relay.telling.configure(config(one={}))
        await relay.until(lambda: len(relay.receivers["one"].told) == 2)
        await relay.telling.configure(config())
        await asyncio.sleep(90_000)
        assert relay.log.stored == {}

    play(act, one={})


def test_the_log_keeps_what_somebody_is_still_to_be_told(play):
    async def act(relay):
        relay.receivers["down"].down = True
        relay.happen("a", "b")
        await relay.until(lambda: len(relay.receivers["up"].told) == 2)
        assert relay.telling.keep_from() == 1
        relay.receivers["down"].down = False
        await relay.until(lambda: len(relay.receivers["down"].told) == 2)
        assert relay.telling.keep_from() == 3

    play(act, up={}, down={})


def test_operators_see_how_each_destination_is_doing(play):
    async def act(relay):
        relay.receivers["down"].down = True
        relay.happen("a")
        await relay.until(lambda: relay.receivers["down"].tried)
        await asyncio.sleep(0.1)
        down, up = await relay.desk.states()
        assert (down.name, down.condition, down.backlog, down.last_error) == (
            "down", "down", 1, "down",
        )  # fmt: skip
        assert down.next_try_at > NOW
        assert down.oldest_at == NOW
        assert (up.condition, up.backlog, up.told, up.dead_letters) == ("up", 0, 1, 0)
        assert up.configuration_sets == ("news",)
        await asyncio.sleep(2)
        sample = relay.metrics.registry.get_sample_value
        assert sample("relay_event_backlog", {"destination": "down"}) == 1
        assert sample("relay_event_destination_up", {"destination": "down"}) == 0

    play(act, up={}, down={})


def test_a_test_tells_one_event_of_each_type_and_changes_nothing(play):
    async def act(relay):
        results = await relay.desk.test("hook")
        assert [result.type for result in results] == [
            "Send", "Reject", "DeliveryDelay", "Delivery", "Bounce", "Complaint",
        ]  # fmt: skip
        assert all(result.told for result in results)
        assert len({result.event_id for result in results}) == 6
        assert relay.log.events == []

    play(act, hook={})


def test_a_test_of_one_that_is_down_says_why_once(play):
    async def act(relay):
        relay.receivers["hook"].down = True
        (result,) = await relay.desk.test("hook")
        assert (result.told, result.answer) == (False, "down")

    play(act, hook={})


def test_a_destination_that_is_not_there_is_refused_by_name(play):
    async def act(relay):
        with pytest.raises(UnknownDestination, match="no event destination hock; there are: hook"):
            await relay.desk.test("hock")

    play(act, hook={})


async def _bury(relay, *messages):
    """Have events about these messages refused until they are dead letters."""
    first = len(relay.log.events) + 1
    for number in range(first, first + len(messages)):
        relay.receivers["hook"].answers[f"event-{number}"] = [Refused("no")] * 3
    relay.happen(*messages)
    await relay.until(lambda: len(relay.log.letters) == len(messages))


def test_dead_letters_are_shown_with_their_json_and_told_again(play):
    async def act(relay):
        await _bury(relay, "a", "b")
        letters = await relay.desk.dead_letters("hook", 0, 10)
        assert [letter.event_id for letter in letters] == ["event-1", "event-2"]
        assert '"eventType":"Send"' in letters[0].content
        assert (letters[0].error, letters[0].attempts) == ("no", 3)

        answer = await relay.desk.replay_dead("hook", [letters[1].id], 0)
        assert (answer.told, answer.after) == (1, 0)
        assert [letter.event.id for letter in relay.log.letters] == ["event-1"]

        answer = await relay.desk.replay_dead("hook", [], 0)
        assert answer.told == 1
        answer = await relay.desk.replay_dead("hook", [], answer.after)
        assert (answer.told, answer.after) == (0, 0)
        assert relay.log.letters == []
        assert sorted(relay.receivers["hook"].told) == ["event-1", "event-2"]

    play(act, hook={})


def test_dead_letters_that_are_refused_again_stay(play):
    async def act(relay):
        await _bury(relay, "a")
        relay.receivers["hook"].answers["event-1"] = [Refused("no")] * 100
        answer = await relay.desk.replay_dead("hook", [], 0)
        assert (answer.told, answer.refused) == (0, 1)
        assert len(relay.log.letters) == 1

    play(act, hook={})


def test_a_replay_ends_where_the_destination_fails(play):
    async def act(relay):
        await _bury(relay, *"abcdef")
        relay.receivers["hook"].concurrency = 3
        third = relay.log.letters[2].event.id
        relay.receivers["hook"].answers[third] = [Failed("answered 502")]
        answer = await relay.desk.replay_dead("hook", [], 0)
        assert (answer.told, answer.error, answer.after) == (2, "answered 502", 0)
        assert len(relay.log.letters) == 4

    play(act, hook={})


def test_dead_letters_are_forgotten_by_id_or_all(play):
    async def act(relay):
        await _bury(relay, "a", "b", "c")
        assert await relay.desk.forget("hook", [relay.log.letters[1].id]) == 1
        assert [letter.event.id for letter in relay.log.letters] == ["event-1", "event-3"]
        assert await relay.desk.forget("hook", []) == 2
        assert await relay.desk.forget("hook", []) == 0

    play(act, hook={})


def test_a_dead_letter_of_another_destination_is_not_forgotten_by_its_id(play):
    async def act(relay):
        await _bury(relay, "a")
        assert await relay.desk.forget("other", [relay.log.letters[0].id]) == 0
        assert len(relay.log.letters) == 1

    play(act, hook={}, other={"events": ["complaint"]})


def test_events_of_a_time_are_told_again_in_parts(play):
    async def act(relay):
        hour = 3_600_000
        for number in range(250):
            relay.happen(f"m{number}", at=NOW + number * hour)
        receiver = relay.receivers["hook"]
        await relay.until(lambda: len(receiver.told) == 250)
        receiver.told.clear()

        told, after = 0, 0
        while True:
            answer = await relay.desk.replay("hook", NOW + 10 * hour, NOW + 240 * hour, after)
            told += answer.told
            if not (after := answer.after):
                break
        assert told == 230
        assert {int(id_.removeprefix("event-")) for id_ in receiver.told} == set(range(11, 241))
        await asyncio.sleep(2)
        assert relay.log.stored["hook"].upto == 250

    play(act, hook={})


def test_a_replay_tells_of_one_message_in_order(play):
    async def act(relay):
        relay.happen(*["a", "b"] * 30)
        receiver = relay.receivers["hook"]
        await relay.until(lambda: len(receiver.told) == 60)
        receiver.told.clear()
        await relay.desk.replay("hook", 0, NOW + 1, 0)
        of_a = [int(id_.removeprefix("event-")) for id_ in receiver.told if int(id_[6:]) % 2]
        assert of_a == sorted(of_a)
        assert len(receiver.told) == 60

    play(act, hook={})


def test_a_slow_destination_is_replayed_to_in_parts_of_bounded_time(play):
    async def act(relay):
        relay.happen(*["a"] * 40)
        receiver = relay.receivers["hook"]
        await relay.until(lambda: len(receiver.told) == 40)
        receiver.told.clear()
        receiver.seconds = 1.0
        first = await relay.desk.replay("hook", 0, NOW + 1, 0)
        assert 10 <= first.told <= 20
        second = await relay.desk.replay("hook", 0, NOW + 1, first.after)
        assert receiver.told == [f"event-{n}" for n in range(1, first.told + second.told + 1)]

    play(act, hook={})


def test_a_teller_that_ends_ends_it_all(play, monkeypatch):
    async def act(relay):
        async def broken(self):
            raise ZeroDivisionError

        monkeypatch.setattr("relay.events.teller.Teller._read", broken)
        relay.happen("a")
        with pytest.raises(ZeroDivisionError):
            await relay._task
        relay._task = asyncio.create_task(asyncio.sleep(10))

    play(act, hook={})


def test_dead_letters_of_a_destination_are_bounded(play):
    async def act(relay):
        for number in range(4):
            relay.receivers["hook"].answers[f"event-{number + 1}"] = [Refused("no")] * 3
        relay.happen("a", "b", "c", "d")
        await relay.until(lambda: relay.log.stored["hook"].upto == 4)
        assert len(relay.log.letters) == 2

    play(act, hook={"dead_letters": 2})
