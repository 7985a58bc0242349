"""Connections counted for several processes: never too many, and nobody is forgotten."""

from collections import Counter, deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.limits.slots import ANY, ReturnSlot, SlotGranted, Slots, SlotWanted, WantSlot


class Process:
    """Notes what it is told; does nothing by itself."""

    def __init__(self, slots: Slots) -> None:
        self.open: Counter[str] = Counter()
        self.told: list[SlotWanted] = []
        self.seat = slots.seat(self)

    def granted(self, site: str) -> None:
        self.open[site] += 1

    def wanted(self, notice: SlotWanted) -> None:
        self.told.append(notice)

    def want(self, site: str, count: int = 1) -> None:
        for _ in range(count):
            self.seat.want(site)

    def close(self, site: str) -> None:
        self.open[site] -= 1
        self.seat.give_back(site)


@pytest.fixture
def slots() -> Slots:
    slots = Slots()
    slots.configure(6, lambda _: 3)
    return slots


def test_a_slot_is_granted_at_once_where_there_is_room(slots):
    one = Process(slots)
    one.want("a", 2)
    assert one.open == {"a": 2}
    assert not one.told


def test_neither_a_site_nor_all_together_get_more_than_their_bound(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 5)
    two.want("a", 5)
    two.want("b", 5)
    one.want("c", 5)
    assert one.open + two.open == {"a": 3, "b": 3}


def test_whoever_has_none_comes_before_those_who_have_some(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 5)
    two.want("a")
    one.close("a")
    assert (one.open["a"], two.open["a"]) == (2, 1)


def test_holders_are_told_who_waits_and_when_nobody_does_any_more(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 3)
    two.want("a")
    assert one.told == [SlotWanted("a", 0)]
    two.seat.leave()
    assert one.told[1:] == [SlotWanted("a", -1)]


def test_a_holder_that_made_room_is_told_again_only_where_more_is_wanted(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 3)
    two.want("a", 2)
    one.close("a")
    assert one.told == [SlotWanted("a", 0), SlotWanted("a", 1)]
    one.close("a")
    assert len(one.told) == 2


def test_when_all_are_in_use_every_holder_is_told_for_which_site_of_its_own_it_waits(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 3)
    two.want("b", 3)
    one.want("c")
    assert one.told == [SlotWanted(ANY, 0, "c")]
    assert two.told == [SlotWanted(ANY, 0)]
    two.close("b")
    assert one.open["c"] == 1
    assert one.told[-1].is_over


def test_the_slots_of_a_process_that_died_go_to_those_who_wait(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 9)
    two.want("a", 2)
    one.seat.leave()
    assert two.open["a"] == 2
    one.seat.give_back("a")  # what it said last comes late
    two.want("a", 5)
    assert two.open["a"] == 3
    assert repr(slots) == "<Slots 3 of 6 used, 4 wanted>"


def test_lower_bounds_take_nothing_away_and_grant_nothing_until_they_hold(slots):
    one, two = Process(slots), Process(slots)
    one.want("a", 3)
    slots.configure(6, lambda _: 1)
    two.want("a")
    one.close("a")
    one.close("a")
    assert two.open["a"] == 0
    one.close("a")
    assert two.open["a"] == 1


def test_higher_bounds_let_those_in_who_wait(slots):
    one = Process(slots)
    one.want("a", 9)
    slots.configure(10, lambda _: 8)
    assert one.open["a"] == 8


def test_a_slot_of_no_use_goes_on_to_the_next_however_many_decline(slots):
    class Declining(Process):
        def granted(self, site: str) -> None:
            self.seat.give_back(site)

    one, two = Process(slots), Declining(slots)
    one.want("a", 3)
    two.want("a", 5_000)
    one.want("a", 1)
    one.close("a")
    assert one.open["a"] == 3
    assert repr(slots) == "<Slots 3 of 6 used, 0 wanted>"


def test_what_nobody_uses_is_forgotten(slots):
    one = Process(slots)
    for number in range(100):
        one.want(f"site{number}")
        one.close(f"site{number}")
    assert not slots._lines
    assert not one.seat.held


class Worker:
    """A process with mail for some sites, over lines that are slow. It closes a connection when it
    is told to, or when its work is done."""

    def __init__(self, slots: Slots, rng: Random) -> None:
        self.slots, self.rng = slots, rng
        self.mail: Counter[str] = Counter()
        self.wishes: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.pressed: set[str] = set()
        self.carried: Counter[str] = Counter()
        self.up: deque[object] = deque()
        self.down: deque[object] = deque()
        self.seat = slots.seat(self)

    def granted(self, site: str) -> None:
        self.down.append(SlotGranted(site))

    def wanted(self, notice: SlotWanted) -> None:
        self.down.append(notice)

    def step(self) -> None:
        for _ in range(self.rng.randrange(3)):
            if self.up:
                self._arrive(self.up.popleft())
        for _ in range(self.rng.randrange(3)):
            if self.down:
                self._hear(self.down.popleft())
        for site in list(self.mail):
            if self.mail[site] > self.wishes[site] + self.open[site] and self.wishes[site] < 2:
                self.wishes[site] += 1
                self.up.append(WantSlot(site))
        for site in list(+self.open):
            self._carry(site)

    def _carry(self, site: str) -> None:
        if self.mail[site] and self.rng.random() < 0.8:
            self.mail[site] -= 1
            self.carried[site] += 1
        if not self.mail[site] or self.pressed & {site, ANY}:
            self.pressed -= {site, ANY}
            self.open[site] -= 1
            self.up.append(ReturnSlot(site))

    def _arrive(self, message: object) -> None:
        if isinstance(message, WantSlot):
            self.seat.want(message.line)
        elif isinstance(message, ReturnSlot):
            self.seat.give_back(message.line)

    def _hear(self, message: object) -> None:
        if isinstance(message, SlotGranted):
            self.wishes[message.line] -= 1
            self.open[message.line] += 1
        elif isinstance(message, SlotWanted):
            (self.pressed.discard if message.is_over else self.pressed.add)(message.line)


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32),
    workers=st.integers(1, 5),
    sites=st.integers(1, 6),
    most=st.integers(1, 8),
    most_per_site=st.integers(1, 4),
    deaths=st.sets(st.integers(0, 300), max_size=3),
)
def test_bounds_hold_and_all_mail_goes_whatever_is_late_and_whoever_dies(
    seed, workers, sites, most, most_per_site, deaths
):
    rng = Random(seed)
    slots = Slots()
    slots.configure(most, lambda _: most_per_site)
    alive = [Worker(slots, rng) for _ in range(workers)]
    for worker in alive:
        for site in range(sites):
            worker.mail[str(site)] = rng.randrange(20)
    for step in range(20_000):
        if step in deaths and len(alive) > 1:
            alive.pop(rng.randrange(len(alive))).seat.leave()
        for worker in alive:
            worker.step()
        total: Counter[str] = Counter()
        for worker in alive:
            total += worker.open
        assert sum(total.values()) <= most
        assert all(count <= most_per_site for count in total.values())
        if not any(any(w.mail.values()) or w.up or w.down or +w.open for w in alive):
            break
    else:
        pytest.fail(f"mail was left waiting: {[worker.mail for worker in alive]}")
    assert repr(slots) == f"<Slots 0 of {most} used, 0 wanted>"


def test_a_line_that_is_restricted_gets_no_more_until_it_is_free_again(slots):
    one = Process(slots)
    slots.restrict("a", 1)
    one.want("a", 3)
    one.want("b", 2)
    assert one.open == {"a": 1, "b": 2}
    slots.restrict("a", 2)
    assert one.open["a"] == 2
    slots.restrict("a", None)
    assert one.open["a"] == 3


def test_a_restriction_takes_nothing_away_but_what_closes_does_not_come_back(slots):
    one = Process(slots)
    one.want("a", 5)
    slots.restrict("a", 1)
    assert one.open["a"] == 3
    one.close("a")
    one.close("a")
    assert one.open["a"] == 1
    one.close("a")
    assert one.open["a"] == 1


def test_a_restriction_never_raises_a_bound_and_outlives_a_reload(slots):
    one = Process(slots)
    slots.restrict("a", 50)
    one.want("a", 5)
    assert one.open["a"] == 3
    slots.restrict("b", 0)
    slots.configure(6, lambda _: 6)
    one.want("b")
    assert one.open["b"] == 0


def test_each_line_has_a_bound_of_its_own(slots):
    slots.configure(10, {"a": 1, "b": 4}.__getitem__)
    one = Process(slots)
    one.want("a", 5)
    one.want("b", 5)
    assert one.open == {"a": 1, "b": 4}
