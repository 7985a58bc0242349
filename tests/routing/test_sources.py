"""Which source address of a pool an attempt leaves from."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Pool, Source
from relay.routing.plan import Candidate, Destination, Plan, no_source
from relay.routing.sources import candidates, choose_source


def plan_of(*found: Candidate) -> Plan:
    return Plan("news", "main", found, Destination("mx"))


def candidate(address: str, weight: int = 1, excluded: str = "") -> Candidate:
    return Candidate(Source(address=address), "relay.example.com", weight, excluded)


def test_every_source_is_listed_and_each_unusable_one_says_why(make_health: Any) -> None:
    pool = Pool(
        sources=(
            Source(address="198.51.100.1", ehlo="one.example.com"),
            Source(address="198.51.100.2", weight=0),
            Source(address="198.51.100.3"),
        )
    )
    health = make_health({"198.51.100.3": "this host does not have the address"})
    found = candidates(pool, "relay.example.com", health)
    assert [c.excluded for c in found] == [
        "",
        "its weight is 0",
        "this host does not have the address",
    ]
    assert [c.ehlo for c in found] == ["one.example.com", "relay.example.com", "relay.example.com"]


def test_sources_are_chosen_in_proportion_to_their_weights() -> None:
    plan = plan_of(candidate("198.51.100.1", 3), candidate("198.51.100.2", 1))
    rng = Random(1)
    chosen = Counter(choose_source(plan, rng).address for _ in range(4000))  # type: ignore[union-attr]
    assert 2850 < chosen["198.51.100.1"] < 3150


def test_a_source_of_weight_zero_is_not_chosen_even_as_the_last_one() -> None:
    plan = plan_of(candidate("198.51.100.1", 0, "its weight is 0"), candidate("198.51.100.2", 0))
    assert choose_source(plan, Random(1)) is None


def test_no_source_is_chosen_where_none_is_eligible() -> None:
    plan = plan_of(candidate("198.51.100.1", 1, "gone"))
    assert choose_source(plan, Random(1)) is None
    reply = no_source(plan.pool, plan.candidates)
    assert reply.is_transient
    assert "198.51.100.1: gone" in reply.text


def test_a_source_to_avoid_is_passed_over() -> None:
    plan = plan_of(candidate("198.51.100.1"), candidate("2001:db8::1"))
    for seed in range(20):
        chosen = choose_source(plan, Random(seed), avoid={"198.51.100.1"})
        assert chosen is not None
        assert (chosen.address, chosen.family) == ("2001:db8::1", 6)
    assert choose_source(plan, Random(1), avoid={"198.51.100.1", "2001:db8::1"}) is None


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=10),
    st.floats(0, 1, exclude_max=True),
)
def test_what_is_chosen_is_always_eligible_whatever_chance_says(
    sources: list[tuple[int, bool]], chance: float
) -> None:
    class Fixed(Random):
        def random(self) -> float:
            return chance

    plan = plan_of(
        *(
            candidate(f"198.51.100.{n}", weight, "" if usable and weight else "no")
            for n, (weight, usable) in enumerate(sources)
        )
    )
    chosen = choose_source(plan, Fixed())
    assert (chosen is None) == (not plan.eligible)
    assert chosen is None or chosen in plan.eligible


@pytest.mark.parametrize("address", ["198.51.100.1", "2001:db8::1"])
def test_a_candidate_knows_its_family(address: str) -> None:
    assert candidate(address).family == (6 if ":" in address else 4)
