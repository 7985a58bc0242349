"""What a destination is told next, and how far it has come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.events.course import Course


def offered(course: Course, *lines: str) -> Course:
    for line in lines:
        course.offer(course.read + 1, line, wanted=True)
    return course


def test_events_of_different_messages_are_told_at_the_same_time():
    course = offered(Course(0), "a", "b", "a")
    assert [course.take(), course.take(), course.take()] == [1, 2, None]


def test_the_next_event_of_a_message_waits_for_the_one_before():
    course = offered(Course(0), "a", "a")
    first = course.take()
    assert course.take() is None
    course.done(first)
    assert course.take() == 2


def test_an_event_that_failed_is_told_before_the_next_of_its_message():
    course = offered(Course(0), "a", "a")
    course.again(course.take())
    assert course.take() == 1


def test_the_cursor_stays_before_what_is_not_done_and_knows_what_is_beyond():
    course = offered(Course(10), "a", "b", "c")
    for _ in range(3):
        course.take()
    course.done(12)
    assert (course.upto, course.ahead()) == (10, (12,))
    course.done(11)
    assert (course.upto, course.ahead()) == (12, ())
    course.done(13)
    assert (course.upto, course.ahead()) == (13, ())


def test_what_is_not_for_the_destination_is_passed_over():
    course = Course(0)
    course.offer(1, "a", wanted=False)
    course.offer(2, "a", wanted=True)
    course.offer(3, "b", wanted=False)
    assert (course.upto, course.open) == (1, 1)
    course.done(course.take())
    assert (course.upto, course.ahead()) == (3, ())


def test_what_was_told_before_a_crash_is_not_told_again():
    course = Course(10, (12,))
    offered(course, "a", "b", "c")
    assert [course.take(), course.take(), course.take()] == [11, 13, None]


def test_numbers_that_the_log_has_no_more_are_passed_over():
    course = Course(10, (12,))
    course.offer(20, "a", wanted=True)
    assert course.upto == 19
    assert course.ahead() == ()


def test_what_is_dropped_is_not_told_but_what_is_being_told_is_seen_through():
    course = offered(Course(0), "a", "a", "b", "c")
    assert course.take() == 1
    assert course.drop_upto(3) == (2, 3)
    assert course.upto == 0
    assert course.take() == 4
    course.done(1)
    assert course.upto == 3


def test_an_event_out_of_order_is_a_mistake():
    with pytest.raises(ValueError, match="event 3 comes after 3"):
        Course(3).offer(3, "a", wanted=True)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.booleans()), max_size=30),
    st.data(),
)
def test_whatever_happens_each_event_is_told_and_each_message_in_order(log, data):
    """Tellings end well or badly in any order, and the process dies at any time, before or after
    its cursor was stored."""
    told: list[int] = []
    stored: tuple[int, tuple[int, ...]] = (0, ())
    course, under_way = Course(*stored), list[int]()
    wanted = [number for number, (_, wants) in enumerate(log, 1) if wants]

    def step(word: str) -> None:
        nonlocal course, stored
        if word == "read" and course.read < len(log):
            line, wants = log[course.read]
            course.offer(course.read + 1, line, wanted=wants)
        elif word == "take" and (number := course.take()) is not None:
            under_way.append(number)
        elif word in ("tell", "fail") and under_way:
            number = under_way.pop(data.draw(st.integers(0, len(under_way) - 1)))
            if word == "tell":
                told.append(number)
                course.done(number)
            else:
                course.again(number)
        elif word == "store":
            stored = (course.upto, course.ahead())
        elif word == "die":
            under_way.clear()
            course = Course(*stored)
        upto, ahead = course.upto, course.ahead()
        assert {n for n in wanted if n <= upto} | set(ahead) <= set(told)

    words = ["read", "take", "tell", "fail", "store", "die"]
    for word in data.draw(st.lists(st.sampled_from(words), max_size=120)):
        step(word)
    while course.upto < len(log):
        for word in ("read", "take", "tell"):
            step(word)

    assert set(told) == set(wanted)
    for line in "abcd":
        firsts = list(dict.fromkeys(n for n in told if log[n - 1][0] == line))
        assert firsts == sorted(firsts)
