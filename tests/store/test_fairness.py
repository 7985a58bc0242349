"""Shares of what is due."""

from hypothesis import given
from hypothesis import strategies as st

from relay.store.fairness import deal, share_out

_wants = st.lists(
    st.tuples(st.sampled_from([1, 4, 16]), st.integers(0, 800)), min_size=0, max_size=60
)
_limits = st.integers(0, 600)


@given(_limits, _wants)
def test_all_that_is_wanted_or_all_that_there_is_gets_given(
    limit: int, wants: list[tuple[int, int]]
) -> None:
    shares = share_out(limit, wants)
    assert sum(shares) == min(limit, sum(wanted for _, wanted in wants))
    assert all(0 <= share <= wanted for share, (_, wanted) in zip(shares, wants, strict=True))


@given(_limits, _wants)
def test_nobody_starves_while_there_is_a_place_for_each(
    limit: int, wants: list[tuple[int, int]]
) -> None:
    shares = share_out(limit, wants)
    wanting = [number for number, (_, wanted) in enumerate(wants) if wanted]
    if len(wanting) <= limit:
        assert all(shares[number] for number in wanting)
    else:
        assert [shares[number] for number in wanting] == [1] * limit + [0] * (len(wanting) - limit)


@given(_limits, _wants)
def test_those_who_want_more_have_it_by_their_weights(
    limit: int, wants: list[tuple[int, int]]
) -> None:
    shares = share_out(limit, wants)
    unsated = [
        (weight, share)
        for (weight, wanted), share in zip(wants, shares, strict=True)
        if 1 < share < wanted
    ]
    # One place came first, and of the rest fractions are lost in each of a few rounds.
    for weight, share in unsated:
        for other, more in unsated:
            assert (share - 1) / weight - (more - 1) / other < 8


def test_a_heavy_one_has_four_times_as_much() -> None:
    assert share_out(500, [(16, 1_000_000), (4, 1_000_000), (1, 1_000_000)]) == [381, 95, 24]


def test_what_one_does_not_want_is_the_others() -> None:
    assert share_out(100, [(16, 3), (1, 1000)]) == [3, 97]


def test_lines_are_dealt_from_alike_and_from_their_beginning() -> None:
    assert deal(5, ["aaaaaaaa", "b", "ccc"]) == ["a", "a", "b", "c", "c"]
