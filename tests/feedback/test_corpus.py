"""What the shipped rules make of real replies: `python -m bench.classify` prints the figures."""

import pytest

from bench.classify import Judged, corpus, judge, score
from relay.feedback.outcome import Bounce

CASES = corpus()


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    return judge(CASES)


def test_the_corpus_is_large_and_a_third_of_it_is_held_back() -> None:
    assert len(CASES) >= 1_100
    assert 0.25 < sum(case.part != "tuned" for case in CASES) / len(CASES) < 0.4
    assert len({(case.text, case.phase, case.provider) for case in CASES}) == len(CASES)


def test_no_address_is_called_dead_that_a_person_would_not(judged: list[Judged]) -> None:
    assert [one.case.text for one in judged if one.false_hard] == []


@pytest.mark.parametrize(
    ("part", "categories", "bounces"),
    [("tuned", 0.97, 0.97), ("held back", 0.93, 0.95), ("fresh", 0.8, 0.85)],
)
def test_replies_are_understood_as_people_do(
    judged: list[Judged], part: str, categories: float, bounces: float
) -> None:
    found = score([one for one in judged if one.case.part == part])
    assert found.categories >= categories
    assert found.bounces >= bounces
    assert found.wrong_kind == 0


def test_most_dead_addresses_are_found(judged: list[Judged]) -> None:
    found = score(judged)
    assert found.hard_found / found.hard >= 0.92


def test_a_bounce_is_permanent_exactly_where_the_address_is_dead(judged: list[Judged]) -> None:
    for one in judged:
        assert (one.found.bounce.type == "Permanent") == one.found.hard_bounce
        assert one.found.bounce != Bounce("Permanent", "Undetermined")
