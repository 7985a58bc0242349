"""What is held back, and when a complaint changes it."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    heard = []
    for line in itertools.islice(lines, 6):
        time.now += 1
        heard += hear(table, complaint(time, "pause", line, count=3, within=60.0))
    assert not heard
    time.now += 1
    assert hear(table, complaint(time, "pause", "a", count=3, within=60.0))


def test_what_deliveries_hear_that_share_a_transaction_counts_once(
    time: Time, table: Restraints
) -> None:
    def hear_together() -> list[Change]:
        time.now += 1
        changes = []
        for n in range(5):
            began = time.now - 0.3 + n / 100_000
            changes += hear(table, complaint(time, "pause", count=3, within=60.0, began=began))
        return changes

    assert [len(hear_together()) for _ in range(3)] == [0, 0, 1]


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


def test_hosts_of_nobody_do_not_push_out_what_a_provider_has_said(time: Time) -> None:
    table = Restraints(time.clock, time.wall, most=3)
    hear(table, complaint(time))
    for number in range(5):
        hear(table, replace(complaint(time, line=f"mx{number}.test"), provider=""))
    assert [one.line for one in table.in_force()] == ["acme", "mx3.test", "mx4.test"]


_ACTIONS = st.sampled_from(["slow_down", "fewer_connections", "pause", "other_source"])


@given(
    st.lists(
        st.tuples(st.floats(0, 400), _ACTIONS, st.sampled_from("abcd"), st.floats(0, 50)),
        max_size=60,
    )
)
def test_whatever_is_complained_of_what_is_told_agrees_with_what_is_in_force(
    events: list[tuple[float, Action, str, float]],
) -> None:
    time = Time()
    table = Restraints(time.clock, time.wall, most=5)
    told: dict[tuple[str, str], Change] = {}
    for passed, action, line, flowed in events:
        time.now += passed
        changes = table.tick()
        changes += hear(table, complaint(time, action, line), 20.0, flowed)
        for change in changes:
            key = change.restraint.line, change.kind
            if change.is_over:
                del told[key]  # nothing ends that was not in force
            else:
                told[key] = change
        in_force = {(one.line, _kind(one.action)): one for one in table.in_force()}
        assert in_force.keys() == told.keys()
        assert len(in_force) <= 5
        for key, change in told.items():
            if change.level is None:
                assert change.until > time.now
            else:
                assert 0 < change.level == in_force[key].level <= 20.0
    time.now += 60 * 3600
    assert all(change.is_over for change in table.tick())
    assert not table.in_force()


def _kind(action: Action) -> str:
    return {"slow_down": "rate", "fewer_connections": "connections"}.get(action, "rest")
