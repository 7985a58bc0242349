"""One destination is told: in order, at its own pace, and whatever it answers."""

import asyncio

import pytest
from prometheus_client import generate_latest

from relay.events.course import Course
from relay.events.destinations.interface import DestinationError
from relay.events.matching import Matching
from relay.events.patience import Failed, Refused
from relay.store.log_values import PauseFacts, TellingCursor
from tests.events.telling_world import NOW, World, message
from tests.limits.simulation import now, simulate


@pytest.fixture
def play():
    """Run a scene over a world, in simulated time; the world, for looking at it then."""

    def scene(act, **settings):
        world = None

        async def main():
            nonlocal world
            world = World(**settings)
            await act(world)
            await world.stop()

        simulate(main)
        return world

    return scene


def test_a_destination_is_told_of_all_that_matches_and_the_cursor_follows(play):
    async def act(world):
        world.log.happen("a", "b", "a")
        world.start()
        await world.all_told()
        assert sorted(world.receiver.told) == ["event-1", "event-2", "event-3"]
        assert world.teller.cursor() == TellingCursor("hook", 3)

    play(act)


def test_what_happens_later_is_told_when_the_teller_is_woken(play):
    async def act(world):
        world.start()
        world.log.happen("a")
        world.teller.wake()
        await world.all_told()
        assert world.receiver.told == ["event-1"]

    play(act)


def test_other_sets_other_types_and_reports_of_the_relay_are_not_told(play):
    async def act(world):
        world.log.known = {
            "other": message("other", "bills"),
            "own": message("own", credential="relay"),
            "a": message("a"),
        }
        world.log.happen("other", "own", "a")
        world.log.happen("a", type="Reject")
        world.start()
        await world.all_told()
        assert world.receiver.told == ["event-3"]

    play(act)


def test_a_pause_is_told_to_those_whose_set_it_is_and_of_a_credential_to_all(play):
    async def act(world):
        for kind, name in (("set", "news"), ("set", "bills"), ("credential", "app")):
            facts = PauseFacts(kind, name, "bounces")
            world.log.happen("", type="SendingPaused", recipients=(), facts=facts)
        world.start()
        await world.all_told()
        assert world.receiver.told == ["event-1", "event-3"]

    play(act)


def test_of_one_message_one_event_is_told_at_a_time_and_of_many_as_many_as_may_be(play):
    async def act(world):
        world.log.happen(*["a", "b", "c", "d"] * 3)
        world.start()
        await world.all_told()
        assert world.receiver.most_at_once == 3
        for first, letter in enumerate("abcd", 1):
            own = [f"event-{first + 4 * turn}" for turn in range(3)]
            assert [one for one in world.receiver.told if one in own] == own, letter

    play(act, concurrency=3)


def test_a_destination_that_is_down_is_probed_with_one_event_and_then_told_all_in_order(play):
    async def act(world):
        world.log.happen("a", "a", "b")
        world.receiver.down = True
        world.start()
        await world.until(lambda: len(world.receiver.tried) >= 8)
        assert world.receiver.told == []
        assert world.teller.standing.patience.in_trouble
        assert world.teller.backlog == 3
        world.receiver.down = False
        await world.all_told()
        assert sorted(world.receiver.told) == ["event-1", "event-2", "event-3"]
        assert world.receiver.told.index("event-1") < world.receiver.told.index("event-2")
        assert not world.teller.standing.patience.in_trouble
        assert not world.log.letters

    world = play(act)
    assert world.logged.getvalue().count("a destination of events fails") == 1
    assert "a destination of events takes them again" in world.logged.getvalue()


def test_probes_become_rare(play):
    async def act(world):
        world.log.happen("a", "b", "c")
        world.receiver.down = True
        world.start()
        await asyncio.sleep(3600)
        assert 15 < len(world.receiver.tried) < 45

    play(act)


def test_retry_after_is_waited_for(play):
    async def act(world):
        world.log.happen("a")
        world.receiver.answers["event-1"] = [Failed("answered 503", 500.0)]
        world.start()
        began = now()
        await world.all_told()
        assert now() - began >= 500

    play(act)


def test_an_event_that_is_refused_is_a_dead_letter_in_the_end_and_others_go_on(play):
    async def act(world):
        world.log.happen("a", "a", "b")
        world.receiver.answers["event-1"] = [Refused("answered 400: what?")] * 3
        world.start()
        await world.all_told()
        assert world.receiver.told == ["event-3", "event-2"]
        (letter,) = world.log.letters
        assert (letter.event.id, letter.attempts, letter.error) == (
            "event-1",
            3,
            "answered 400: what?",
        )

    play(act)


def test_an_event_that_makes_a_destination_fail_does_not_keep_others_from_being_told(play):
    async def act(world):
        world.log.happen("bad")
        world.receiver.answers["event-1"] = [Failed("answered 500")] * 100
        world.start()
        for number in range(200):
            world.log.happen(f"m{number}")
            world.teller.wake()
            await asyncio.sleep(5)
        await world.all_told()
        assert [letter.event.id for letter in world.log.letters] == ["event-1"]
        assert len(world.receiver.told) == 200

    play(act)


def test_who_refuses_everything_has_trouble_and_loses_nothing(play):
    """A consumer that was set up wrongly says 400 to all."""

    async def act(world):
        world.log.happen(*(f"m{number}" for number in range(300)))
        for number in range(1, 301):
            world.receiver.answers[f"event-{number}"] = [Refused("answered 400")] * 1000
        world.start()
        await asyncio.sleep(7_200)
        assert len(world.log.letters) < 25
        assert world.teller.standing.patience.in_trouble
        assert world.teller.standing.last_error == "it refuses everything: answered 400"
        world.receiver.answers.clear()
        await world.all_told()
        assert len(world.receiver.told) + len(world.log.letters) == 300

    play(act)


def test_what_could_not_be_told_for_too_long_is_a_dead_letter(play):
    async def act(world):
        world.log.happen("a")
        world.receiver.down = True
        world.start()
        await world.until(lambda: len(world.receiver.tried) >= 3)
        assert not world.log.letters
        world.clock = NOW + 61_000
        await world.all_told()
        assert world.log.letters[0].error == "down"

    play(act, give_up_after="1m")


def test_dead_letters_are_kept_before_the_cursor_passes_the_event(play):
    async def act(world):
        world.log.happen("a", "b")
        world.receiver.answers["event-1"] = [Refused("no")] * 100
        world.start()
        await world.until(lambda: world.receiver.tried.count("event-1") == 2)
        world.log.fails = True
        await asyncio.sleep(10)
        assert world.teller.cursor().upto == 0
        world.log.fails = False
        await world.all_told()
        assert [letter.event.id for letter in world.log.letters] == ["event-1"]

    play(act)


def test_a_backlog_that_is_full_loses_its_oldest_and_counts_them(play):
    async def act(world):
        world.log.happen(*(f"m{number}" for number in range(2_500)))
        world.receiver.down = True
        world.start()
        await world.until(lambda: world.teller.backlog <= 1_000)
        assert world.teller.dropped == 1_500
        world.receiver.down = False
        await world.all_told()
        assert len(world.receiver.told) == 1_000
        assert world.teller.cursor().dropped == 1_500

    world = play(act, backlog=1_000)
    assert b'relay_events_dropped_total{destination="hook"} 1500.0' in generate_latest(
        world.metrics.registry
    )
    assert "events are lost" in world.logged.getvalue()


def test_only_what_it_would_have_been_told_counts_as_lost(play):
    async def act(world):
        world.log.known["other"] = message("other", "bills")
        world.log.happen(*["other", "a"] * 1_000)
        world.receiver.down = True
        world.start()
        await world.until(lambda: world.teller.dropped)
        assert world.teller.dropped == 500

    play(act, backlog=1_000)


def test_one_that_is_switched_off_is_told_nothing_and_keeps_its_place(play):
    async def act(world):
        world.log.happen("a")
        world.start()
        await asyncio.sleep(100)
        assert world.receiver.tried == []
        assert world.teller.cursor() == TellingCursor("hook", 0)

    play(act, enabled=False)


def test_what_was_being_told_when_the_process_died_is_told_again_under_its_id(play):
    async def act(world):
        world.log.happen("a", "a", "b")
        world.start()
        world.receiver.gate.clear()
        await world.until(lambda: len(world.receiver.tried) == 2)
        cursor = await world.stop()
        world.receiver.gate.set()
        world.start(cursor)
        await world.all_told()
        assert sorted(world.receiver.tried) == [
            "event-1", "event-1", "event-2", "event-3", "event-3",
        ]  # fmt: skip

    play(act)


def test_a_destination_that_cannot_be_set_up_waits_until_it_can(play):
    async def act(world):
        world.log.happen("a")

        def broken():
            raise DestinationError("ca hooks.pem cannot be used")

        world.make = broken
        world.start()
        await world.until(lambda: world.teller.standing.last_error)
        assert world.teller.standing.last_error == (
            "it cannot be set up: ca hooks.pem cannot be used"
        )
        world.make = lambda: world.receiver
        await world.all_told()

    play(act)


def test_an_adapter_that_fails_in_an_unforeseen_way_is_a_destination_in_trouble(play):
    async def act(world):
        world.log.happen("a")
        world.receiver.answers["event-1"] = [KeyError("surprise")]
        world.start()
        await world.all_told()
        assert world.receiver.told == ["event-1"]

    assert "failed in an unforeseen way" in play(act).logged.getvalue()


def test_an_event_that_makes_a_destination_fail_does_not_hold_up_what_lies_far_beyond(
    play, monkeypatch
):
    monkeypatch.setattr(Course, "MOST_AHEAD", 30)

    async def act(world):
        world.log.happen(*[f"m{number}" for number in range(1_200)])
        world.receiver.answers["event-1"] = [Failed("answered 500")] * 1_000
        world.start()
        await world.until(lambda: len(world.receiver.told) == 1_199, seconds=120)
        assert [letter.event.id for letter in world.log.letters] == ["event-1"]

    play(act)


def test_an_event_that_cannot_be_written_keeps_no_other_from_being_told(play, monkeypatch):
    def render(event, message, hostname):
        if event.id == "event-1":
            raise OverflowError("a mistake of ours")
        return b"{}"

    monkeypatch.setattr("relay.events.notification.render", render)

    async def act(world):
        world.log.happen("a", "b")
        world.start()
        await world.all_told()
        assert world.receiver.told == ["event-2"]
        assert world.log.letters[0].error.startswith("it could not be written")

    play(act)


def test_a_log_that_cannot_be_read_is_waited_for(play):
    async def act(world):
        world.log.happen("a")
        world.log.fails = True
        world.start()
        await asyncio.sleep(10)
        world.log.fails = False
        await world.all_told()

    assert "waits for the log" in play(act).logged.getvalue()


def test_its_destination_is_closed_when_it_ends(play):
    async def act(world):
        world.log.happen("a")
        world.start()
        await world.all_told()

    assert play(act).receiver.closed


def test_a_reload_changes_what_is_told_from_then_on(play):
    async def act(world):
        world.log.known["other"] = message("other", "bills")
        world.log.happen("a", "other")
        world.start()
        await world.all_told()
        world.teller.matching = Matching(frozenset({"Send"}), frozenset({"bills"}))
        world.log.happen("a", "other")
        world.teller.wake()
        await world.all_told()
        assert world.receiver.told == ["event-1", "event-4"]

    play(act)


def test_several_tellers_read_what_is_new_once(play):
    async def act(world):
        world.log.happen(*(f"m{number}" for number in range(100)))
        world.start()
        await world.all_told()
        asked = world.log.asked
        await world.stop()
        world.start()
        await world.all_told()
        assert world.log.asked <= asked + 1  # the question for what comes after

    play(act)
