"""The same happening always has the same ids, and no two happenings share one."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from relay.feedback.event_ids import event_id, feedback_id
from relay.mail.message_id import accepted_at, is_message_id, new_message_id

AT = 1_790_000_000_123
MESSAGE = new_message_id(AT)

facts = st.tuples(
    st.integers(1, 2**63 - 1),
    st.sampled_from([MESSAGE, "", "other"]),
    st.integers(0, 2**47),
    st.integers(0, 1_000),
)


def test_an_event_made_a_second_time_has_the_id_it_had() -> None:
    assert event_id(7, MESSAGE, AT, 0) == event_id(7, MESSAGE, AT, 0)


def test_an_id_stays_what_it_is_in_every_release() -> None:
    """Consumers keep them: a change of the hash would tell what was told before anew."""
    message = "0100019aa4f1c8d6-5b0c5f0e-8a55-4a7c-9b61-1f6f6b2f7a10-000000"
    time = "010001a0c4506c7b"
    assert event_id(7, message, AT, 0) == f"{time}-b2ffc7ee-924d-896a-b5a7-d1accd095e95-000000"
    assert feedback_id(7, message, AT, 0) == f"{time}-83117c59-9121-8d8d-824b-7b29be66061e-000000"


@given(facts, facts)
def test_each_fact_makes_another_id(one: tuple, other: tuple) -> None:
    assert (event_id(*one) == event_id(*other)) == (one == other)
    assert event_id(*one) != feedback_id(*other)


@given(facts)
def test_ids_have_the_form_of_message_ids_and_tell_the_time(some: tuple) -> None:
    for made in (event_id(*some), feedback_id(*some)):
        assert is_message_id(made)
        assert accepted_at(made) == some[2]
        assert UUID(made[17:53]).version == 8
