"""What answers mean, and when a destination is tried again."""

from random import Random

import pytest

from relay.events.patience import Failed, Patience, Refused, Told, Trials, judge


@pytest.mark.parametrize("status", [200, 202, 204])
def test_an_event_that_was_taken_is_told(status):
    assert judge(status, None, "") == Told(str(status))


@pytest.mark.parametrize("status", [400, 413, 422])
def test_some_answers_are_about_the_event(status):
    assert judge(status, None, "no such tag") == Refused(f"answered {status}: no such tag")


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_not_followed(status):
    assert judge(status, None, "") == Failed(f"answered {status} (redirects are not followed)")


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500, 502])
def test_other_answers_are_about_the_destination(status):
    assert judge(status, 60, "") == Failed(f"answered {status}")


@pytest.mark.parametrize("status", [429, 503])
def test_who_asks_for_time_has_it(status):
    assert judge(status, 60, "") == Failed(f"answered {status}", 60)


def test_each_failure_makes_the_next_try_later_up_to_five_minutes():
    patience, now, waits = Patience(Random(1)), 0.0, []
    for _ in range(12):
        patience.failed(now, None)
        waits.append(patience.again_at - now)
        now = patience.again_at
    assert 0.5 <= waits[0] <= 1
    assert 2 <= waits[2] <= 4
    assert 150 <= waits[-1] <= 300
    assert patience.in_trouble
    assert patience.since == 0.0


def test_tries_that_failed_together_count_once():
    patience = Patience(Random(1))
    patience.failed(10.0, None)
    again_at = patience.again_at
    patience.failed(10.1, None)
    assert patience.again_at == again_at


def test_retry_after_is_kept_to_within_reason():
    patience = Patience(Random(1))
    patience.failed(0.0, 120)
    assert patience.again_at == 120
    patience.failed(120.0, 1e9)
    assert patience.again_at == 120 + 3600


def test_an_event_that_is_taken_ends_the_trouble():
    patience = Patience(Random(1))
    patience.failed(0.0, None)
    patience.took()
    assert not patience.in_trouble
    assert patience.again_at == 0.0


def test_an_event_that_is_refused_thrice_is_a_dead_letter():
    trials = Trials()
    assert [trials.refused(0.0) for _ in range(3)] == [False, False, True]
    assert trials.attempts == 3


def test_an_event_that_fails_while_others_are_taken_is_a_dead_letter_in_the_end():
    trials = Trials()
    assert [trials.failed(0.0, taken) for taken in range(10)] == [False] * 9 + [True]


def test_an_event_that_holds_up_all_others_is_one_soon():
    trials = Trials()
    assert not trials.failed(0.0, 1)
    assert not trials.failed(0.0, 10_000)
    assert trials.failed(0.0, 10_000, holds_up=True)


def test_an_event_that_fails_with_all_others_is_none():
    trials = Trials()
    assert not any(trials.failed(0.0, 7) for _ in range(100))
    assert trials.attempts == 100
