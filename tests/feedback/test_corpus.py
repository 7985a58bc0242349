"""What the shipped rules make of real replies: `python -m bench.classify` prints the figures."""

import pytest

from bench.classify import Judged, corpus, judge, score
from relay.feedback.outcome import Bounce

CASES = corpus()


@pytest.fixture(scope="module")
def judged() -> list[Judged]:
    return judge(CASES)


def test_the_corpus_is_large_and_a_third_of_it_is_held_back() -> None:
    assert len(CASES) >= 900
    assert 0.25 < sum(case.held_back for case in CASES) / len(CASES) < 0.4
    assert len({(case.text, case.phase, case.provider) for case in CASES}) == len(CASES)


def test_no_address_is_called_dead_that_a_person_would_not(judged: list[Judged]) -> None:
    assert [one.case.text for one in judged if one.false_hard] == []


def test_replies_are_understood_as_people_do(judged: list[Judged]) -> None:
    tuned = score([one for one in judged if not one.case.held_back])
    held_back = score([one for one in judged if one.case.held_back])
    assert tuned.categories >= 0.97
    assert tuned.bounces >= 0.97
    assert held_back.categories >= 0.92
    assert held_back.bounces >= 0.95
    assert tuned.wrong_kind == held_back.wrong_kind == 0


def test_most_dead_addresses_are_found(judged: list[Judged]) -> None:
    found = score(judged)
    assert found.hard_found / found.hard >= 0.93


def test_a_bounce_is_permanent_exactly_where_the_address_is_dead(judged: list[Judged]) -> None:
    for one in judged:
        assert (one.found.bounce.type == "Permanent") == one.found.hard_bounce
        assert one.found.bounce != Bounce("Permanent", "Undetermined")
