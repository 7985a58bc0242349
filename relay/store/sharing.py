"""How a limit is divided among the nodes of a fleet: the arithmetic of every store. Pure.

A node holds a *share* of a limit. What it gives up and has just used *cools*: it counts for one
window more. At every moment what all nodes hold, and what cools, is the limit at most; a share is
only ever made larger from what is in no hands. Nobody is told to give up: a node hears what the
others could use, and gives up of its own accord what is too much, with its next wish.

Where there is less than one permit for each node that wants some, nodes have turns: who has waited
longest is the next to get one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from relay.store.fleet_values import Share, ShareWish


@dataclass(frozen=True, slots=True)
class Holding:
    """What a node holds of one limit. `limit` and `window` (ms) are its own configuration's;
    `since` is when it began to wait where it holds nothing, else when it came to hold something
    (UTC ms of the store). Those of a node that died are listed for as long as they count, with a
    `demand` of 0."""

    epoch: int
    limit: int
    window: int
    held: int
    demand: int
    since: int


@dataclass(frozen=True, slots=True)
class Cooling:
    """So many permits are in no hands, and count until then (UTC ms of the store)."""

    amount: int
    until: int


@dataclass(frozen=True, slots=True)
class Settlement:
    """What becomes of one wish: the row of the node (None: it is to have none any more), what of
    its share begins to cool, and the answer."""

    holding: Holding | None
    cooling: Cooling | None
    share: Share


def settle(
    epoch: int,
    wish: ShareWish,
    now: int,
    holdings: Iterable[Holding],
    cooling: Iterable[Cooling],
) -> Settlement:
    """Answer the wish of one node for one limit, given all rows of that limit. `now` is UTC ms of
    the store."""
    rows = {one.epoch: one for one in holdings}
    own = rows.pop(epoch, None) or Holding(epoch, wish.limit, wish.window, 0, 0, now)
    others = list(rows.values())
    keep = min(wish.keep, own.held)
    cools = _cooled(wish, own.held - keep, now)
    warm = [one for one in cooling if one.until > now] + cools
    limit = min([wish.limit, *(one.limit for one in others if one.demand)])
    free = limit - keep - sum(one.held for one in others) - sum(one.amount for one in warm)
    waits_since = own.since if own.demand and not own.held else now
    mine, owed = _due(limit, wish.demand, waits_since, others)
    held = keep + max(0, min(mine - keep, free - owed))
    since = own.since if own.held and held else waits_since
    share = Share(
        wish.key,
        held,
        tuple(one.demand for one in others if one.demand),
        max(1, min(one.until for one in warm) - now) if held < wish.demand and warm else 0,
        limit,
    )
    row = Holding(epoch, wish.limit, wish.window, held, wish.demand, since)
    return Settlement(row if held or wish.demand else None, cools[0] if cools else None, share)


def _cooled(wish: ShareWish, given_up: int, now: int) -> list[Cooling]:
    amount = min(wish.cooling, given_up)
    return [Cooling(amount, now + wish.window)] if amount and wish.window else []


def fair(limit: int, demands: Sequence[int]) -> list[int]:
    """Divide `limit`: no demand gets more than it asks for, and none less than another one that is
    not satisfied, give or take one permit. Those that come first get the odd ones."""
    targets = [0] * len(demands)
    left = limit
    open_ones = [i for i, demand in enumerate(demands) if demand > 0]
    while open_ones and left:
        each, odd = divmod(left, len(open_ones))
        satisfied = [i for i in open_ones if demands[i] <= each]
        if not satisfied:
            for place, i in enumerate(open_ones):
                targets[i] = each + (place < odd)
            return targets
        for i in satisfied:
            targets[i] = demands[i]
            left -= demands[i]
        open_ones = [i for i in open_ones if demands[i] > each]
    return targets


def _due(limit: int, demand: int, since: int, others: Sequence[Holding]) -> tuple[int, int]:
    """How much a node may come to hold, and how much of what is free is to be left to others: what
    they are due and do not hold yet."""
    wanted = [demand, *(one.demand for one in others)]
    mine, *theirs = fair(limit, wanted)
    if sum(map(bool, wanted)) <= limit:
        return mine, sum(max(0, due - one.held) for due, one in zip(theirs, others, strict=True))
    # Less than one for each: one goes to each of those who have waited longest.
    return mine, sum(1 for one in others if one.demand and not one.held and one.since < since)
