"""What is held back, and when a complaint changes it."""

import itertools

import pytest

from relay.config.reactions import Action
from relay.feedback.restraints import Change, Complaint, Restraints
from relay.limits.temper import ROUND_SECONDS


class Time:
    now = 1000.0

    def clock(self) -> float:
        return self.now

    def wall(self) -> int:
        return round(self.now * 1000)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def table(time: Time) -> Restraints:
    return Restraints(time.clock, time.wall)


def complaint(
    time: Time, action: Action = "slow_down", line: str = "acme", rule: str = "r", **keys: object
) -> Complaint:
    values = {"seconds": 300.0, "reply": "421 no", "began": time.now, **keys}
    return Complaint("192.0.2.1", line, "acme", rule, action, **values)  # type: ignore[arg-type]


def hear(table: Restraints, it: Complaint, base: float = 20.0, flowed: float = 0) -> list[Change]:
    return table.act(it, base, flowed) if table.hear(it) else []


def test_a_slow_down_halves_the_rate_and_is_over_once_it_has_recovered(
    time: Time, table: Restraints
) -> None:
    (change,) = hear(table, complaint(time))
    assert (change.kind, change.level, change.is_over) == ("rate", 10.0, False)
    levels = []
    for _ in range(5):
        time.now += 300
        levels += [one.level for one in table.tick()]
    assert levels == [12.0, 14.0, 16.0, 18.0, None]
    assert not table.in_force()


def test_fifty_replies_from_connections_in_flight_are_one_slow_down(
    time: Time, table: Restraints
) -> None:
    began = time.now - 2
    changes = [hear(table, complaint(time, began=began)) for _ in range(50)]
    assert [len(one) for one in changes] == [1] + 49 * [0]


def test_complaints_that_come_while_a_cut_is_being_decided_are_part_of_it(
    time: Time, table: Restraints
) -> None:
    assert table.hear(complaint(time))
    assert not table.hear(complaint(time))
    table.act(complaint(time), 20.0, 0.0)
    assert len(table.in_force()) == 1


def test_a_complaint_of_the_next_round_halves_again(time: Time, table: Restraints) -> None:
    hear(table, complaint(time))
    time.now += ROUND_SECONDS + 1
    (change,) = hear(table, complaint(time))
    assert change.level == 5.0


def test_where_nothing_is_configured_what_flowed_is_the_base(time: Time, table: Restraints) -> None:
    (change,) = hear(table, complaint(time), float("inf"), 40.0)
    assert (change.level, change.restraint.base) == (20.0, 40.0)


def test_a_single_message_that_was_throttled_is_no_rate_to_halve(
    time: Time, table: Restraints
) -> None:
    (change,) = hear(table, complaint(time), float("inf"), 0.1)
    assert (change.level, change.restraint.base) == (0.5, 1.0)


def test_a_pause_ends_at_its_time_and_is_not_prolonged_by_what_had_left_before(
    time: Time, table: Restraints
) -> None:
    (change,) = hear(table, complaint(time, "pause", seconds=60.0))
    assert change.until == time.now + 60
    time.now += 30
    assert not hear(table, complaint(time, "pause", seconds=60.0, began=time.now - 31))
    assert not table.tick()
    time.now += 30
    (over,) = table.tick()
    assert over.is_over
    assert not table.rests()


def test_another_rule_that_lasts_longer_prolongs_a_rest(time: Time, table: Restraints) -> None:
    hear(table, complaint(time, "pause", seconds=60.0))
    assert not hear(table, complaint(time, "pause", rule="short", seconds=10.0))
    (change,) = hear(table, complaint(time, "other_source", rule="blocked", seconds=3600.0))
    assert change.until == time.now + 3600
    (shown,) = table.in_force()
    assert (shown.rule, shown.action) == ("blocked", "other_source")


def test_a_rule_with_a_trigger_waits_for_so_many_replies_in_so_short_a_time(
    time: Time, table: Restraints
) -> None:
    def once() -> bool:
        return bool(hear(table, complaint(time, "pause", count=3, within=60.0)))

    slow = []
    for _ in range(6):
        time.now += 31
        slow.append(once())
    assert not any(slow)
    time.now += 100
    assert not once()
    time.now += 1
    assert not once()
    time.now += 1
    assert once()


def test_triggers_are_counted_for_each_source_and_line(time: Time, table: Restraints) -> None:
    lines = itertools.cycle("abc")
    heard = [
        hear(table, complaint(time, "pause", next(lines), count=3, within=60.0)) for _ in range(6)
    ]
    assert not any(heard)
    assert hear(table, complaint(time, "pause", "a", count=3, within=60.0))


def test_lines_and_kinds_are_held_back_apart(time: Time, table: Restraints) -> None:
    hear(table, complaint(time, "slow_down", "a"))
    hear(table, complaint(time, "fewer_connections", "a"), base=10.0)
    hear(table, complaint(time, "pause", "b"))
    shown = [(one.line, one.action, one.level) for one in table.in_force()]
    assert shown == [("a", "slow_down", 10.0), ("a", "fewer_connections", 5.0), ("b", "pause", 0.0)]
    over = table.clear("192.0.2.1", "a")
    assert [(one.kind, one.is_over) for one in over] == [("rate", True), ("connections", True)]
    assert [rest.line for rest in table.rests()] == ["b"]


def test_sources_that_a_reload_removed_are_held_back_no_more(time: Time, table: Restraints) -> None:
    hear(table, complaint(time))
    assert table.keep(["192.0.2.1"]) == []
    (over,) = table.keep(["192.0.2.2"])
    assert over.is_over
    assert len(table) == 0


def test_when_there_are_too_many_the_one_heard_of_least_lately_leaves(time: Time) -> None:
    table = Restraints(time.clock, time.wall, most=3)
    for line in ("a", "b", "c"):
        hear(table, complaint(time, line=line))
    hear(table, complaint(time, line="a", began=time.now - 5))  # no news, but heard of
    gone, new = hear(table, complaint(time, line="d"))
    assert (gone.restraint.line, gone.is_over, new.restraint.line) == ("b", True, "d")
    assert [one.line for one in table.in_force()] == ["c", "a", "d"]
