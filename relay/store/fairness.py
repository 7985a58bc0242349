"""Who gets how much of what is due, where not everything fits. Pure arithmetic.

Two levels take turns by the same rule: configuration sets by their weight, and within a set its
lines (a *line* is the mail of one set to one domain), each alike. Nobody who wants something gets
nothing, as long as there is one place for each; what one does not want is the others'.
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def share_out(limit: int, wants: Sequence[tuple[int, int]]) -> list[int]:
    """Divide `limit` places among those who want some: pairs of (weight, how many).

    Each gets one first, in the order given (so whoever has more claimants than places turns the
    order round from time to time); the rest goes by weight to those who want more.
    """
    shares = [0] * len(wants)
    for number, (_, wanted) in enumerate(wants):
        if limit > 0 and wanted > 0:
            shares[number] = 1
            limit -= 1
    hungry = [number for number, (_, wanted) in enumerate(wants) if wanted > shares[number] > 0]
    while limit > 0 and hungry:
        weights = sum(wants[number][0] for number in hungry)
        given = 0
        for number in hungry:
            weight, wanted = wants[number]
            more = min(limit * weight // weights, wanted - shares[number])
            shares[number] += more
            given += more
        if not given:
            _give_the_rest(limit, wants, shares, hungry)
            break
        limit -= given
        hungry = [number for number in hungry if wants[number][1] > shares[number]]
    return shares


def _give_the_rest(
    limit: int, wants: Sequence[tuple[int, int]], shares: list[int], hungry: Sequence[int]
) -> None:
    """Fewer places than weights are left: one each, the heavier first."""
    for number in sorted(hungry, key=lambda number: -wants[number][0])[:limit]:
        shares[number] += 1


def deal(limit: int, hands: Sequence[Sequence[T]]) -> list[T]:
    """Up to `limit` of what is in `hands`, from each of them alike, from its beginning."""
    shares = share_out(limit, [(1, len(hand)) for hand in hands])
    return [one for hand, share in zip(hands, shares, strict=True) for one in hand[:share]]
