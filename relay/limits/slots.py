"""Who may have a connection to a destination: so many in all, so many to each site, exactly.

One `Slots` counts for all processes that deliver. Each has a seat: it asks for one slot for each
connection that it wants to open, is granted it when its turn has come, and gives it back when the
connection is closed. Whoever has the fewest connections to a site comes first, then whoever asked
first: nobody who has none waits behind those who have many.

Nothing is taken away. Those who hold slots that others wait for are told so, with how many those
others have: one connection that is due closes for each time that it is told. All holders are told,
so one that is stuck in a slow transaction does not keep others waiting where another could yield.
The slots of a process that died are free at once.

Pure counting: no clock, no waiting, no I/O. What is said goes between processes as plain values:
`WantSlot` and `ReturnSlot` one way, `SlotGranted` and `SlotWanted` the other.
"""

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

ANY = ""  # the line of those who wait because all connections are in use
_NOBODY = -1
_FRONT = 32  # only so much of a long line is compared


@dataclass(frozen=True, slots=True)
class WantSlot:
    """One connection to `site` is wanted."""

    site: str


@dataclass(frozen=True, slots=True)
class ReturnSlot:
    """One connection to `site` is closed, or not wanted any more."""

    site: str


@dataclass(frozen=True, slots=True)
class SlotGranted:
    """One connection to `site` may be opened."""

    site: str


@dataclass(frozen=True, slots=True)
class SlotWanted:
    """Someone with `theirs` connections waits for one to `site` (`ANY`: for any to be closed).

    `own` is the site for which this process itself waits, empty where another one does. Nobody
    waits any more where `theirs` is negative.
    """

    site: str
    theirs: int
    own: str = ""

    @property
    def is_over(self) -> bool:
        return self.theirs < 0


class Holder(Protocol):
    """Who is told. Either may be called within `want` and `give_back`."""

    def granted(self, site: str) -> None: ...

    def wanted(self, notice: SlotWanted) -> None: ...


class Seat(Protocol):
    """What one process asks of the slots."""

    def want(self, site: str) -> None:
        """Ask for one slot; the holder is told when it is granted. Not to be taken back: a slot
        that is of no use any more is returned when it comes."""

    def give_back(self, site: str) -> None:
        """Return one slot."""


class OwnSeat(Seat, Protocol):
    """A seat as the process that counts has it."""

    def leave(self) -> None:
        """The process that sat here has ended: it holds nothing and wants nothing any more."""


class SlotSource(Protocol):
    """Where a process gets its seat: from `Slots`, or from what speaks to them."""

    def seat(self, holder: Holder) -> Seat: ...


@dataclass(eq=False, slots=True)
class _Site:
    key: str
    used: int = 0
    line: deque["_Wish"] = field(default_factory=deque)  # who waits because the site has its most
    wishes: int = 0  # in either line


@dataclass(eq=False, slots=True)
class _Wish:
    seat: "_Seat"
    site: _Site


class _Seat:
    """One process: what it holds, and what it was told and has not answered by closing one."""

    __slots__ = ("_slots", "held", "holder", "told")

    def __init__(self, slots: "Slots", holder: Holder) -> None:
        self._slots = slots
        self.holder = holder
        self.held: Counter[str] = Counter()
        self.told: dict[str, SlotWanted] = {}

    def want(self, site: str) -> None:
        self._slots.want(self, site)

    def give_back(self, site: str) -> None:
        self._slots.give_back(self, site)

    def leave(self) -> None:
        """The process has ended: it holds nothing and wants nothing any more."""
        self._slots.leave(self)


class Slots:
    """`most` connections in all, `most_per_site` to each site; none before `configure`."""

    def __init__(self) -> None:
        self._most = 0
        self._most_per_site = 0
        self._used = 0
        self._seats: list[_Seat] = []
        self._sites: dict[str, _Site] = {}
        self._line: deque[_Wish] = deque()  # who waits because all connections are in use
        self._touched: dict[str, _Site] = {}  # whose line or count has changed
        self._is_settling = False

    def __repr__(self) -> str:
        waiting = sum(site.wishes for site in self._sites.values())
        return f"<Slots {self._used} of {self._most} used, {waiting} wanted>"

    def seat(self, holder: Holder) -> _Seat:
        """A place for one process more."""
        seat = _Seat(self, holder)
        self._seats.append(seat)
        return seat

    def configure(self, most: int, most_per_site: int) -> None:
        """Put new bounds in force. Slots above them are not taken away, but not granted again."""
        self._most, self._most_per_site = most, most_per_site
        for site in self._sites.values():
            self._touched[site.key] = site
        self._settle()

    # What seats ask

    def want(self, seat: _Seat, key: str) -> None:
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = _Site(key)
        site.wishes += 1
        site.line.append(_Wish(seat, site))
        self._touched[key] = site
        self._settle()

    def give_back(self, seat: _Seat, key: str) -> None:
        if not seat.held[key]:
            return  # of a seat that was left
        seat.held[key] -= 1
        if not seat.held[key]:
            del seat.held[key]
        self._free(self._sites[key], 1)
        # It has done what it was told to do; where more are wanted it is told again.
        seat.told.pop(key, None)
        seat.told.pop(ANY, None)
        self._settle()

    def leave(self, seat: _Seat) -> None:
        self._seats.remove(seat)
        for line in (self._line, *(site.line for site in self._sites.values())):
            for wish in [wish for wish in line if wish.seat is seat]:
                line.remove(wish)
                wish.site.wishes -= 1
                self._touched[wish.site.key] = wish.site
        for key, count in seat.held.items():
            self._free(self._sites[key], count)
        seat.held.clear()
        self._settle()

    def _free(self, site: _Site, count: int) -> None:
        site.used -= count
        self._used -= count
        self._touched[site.key] = site

    # Whose turn it is

    def _settle(self) -> None:
        """Grant what can be granted, then tell those who are in the way.

        Whoever is granted a slot may return it at once, or want another: that is settled here too.
        """
        if self._is_settling:
            return
        self._is_settling = True
        told: dict[str, _Site] = {}
        try:
            while self._touched:
                key, site = self._touched.popitem()
                told[key] = site
                self._advance(site)
                self._grant()
        finally:
            self._is_settling = False
        for site in told.values():
            self._tell(site.key, site.line)
            if not site.used and not site.wishes:
                self._sites.pop(site.key, None)
        self._tell(ANY, self._line)

    def _advance(self, site: _Site) -> None:
        """As many as the site has room for wait only for the bound of all connections now."""
        ahead = site.wishes - len(site.line)
        for _ in range(min(len(site.line), self._most_per_site - site.used - ahead)):
            self._line.append(_take_first(site.line))

    def _grant(self) -> None:
        while self._line and self._used < self._most:
            wish = _take_first(self._line)
            site = wish.site
            if site.used >= self._most_per_site:  # the bound was lowered meanwhile
                site.line.appendleft(wish)
                continue
            site.wishes -= 1
            site.used += 1
            self._used += 1
            wish.seat.held[site.key] += 1
            self._touched[site.key] = site
            wish.seat.holder.granted(site.key)

    # Who is in the way

    def _tell(self, key: str, line: deque[_Wish]) -> None:
        for seat in tuple(self._seats):
            notice = _notice(key, line, seat)
            known = seat.told.get(key)
            if notice is None:
                if known is not None:
                    del seat.told[key]
                    seat.holder.wanted(SlotWanted(key, _NOBODY))
            elif notice != known:
                seat.told[key] = notice
                seat.holder.wanted(notice)


def _notice(key: str, line: deque[_Wish], seat: _Seat) -> SlotWanted | None:
    """Who waits first for what `seat` has; another one sooner than itself."""
    if not line or not (seat.held if key == ANY else seat.held[key]):
        return None
    front = list(islice(line, _FRONT))
    wish = _first([w for w in front if w.seat is not seat] or front)
    own = wish.site.key if wish.seat is seat else ""
    return SlotWanted(key, wish.seat.held[wish.site.key], own)


def _first(front: list[_Wish]) -> _Wish:
    return min(front, key=lambda wish: wish.seat.held[wish.site.key])


def _take_first(line: deque[_Wish]) -> _Wish:
    wish = _first(list(islice(line, _FRONT)))
    line.remove(wish)
    return wish
