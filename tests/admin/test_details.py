"""What became of a message that is not in the queue any more."""

import pytest

from relay.admin.details import gone, whereabouts
from relay.mail.message_id import accepted_at, new_message_id
from relay.store.values import Attempt, AttemptResult

NOW = 1_800_000_000_000


def attempt(delivery: int, *kinds: str, at: int = NOW) -> Attempt:
    results = tuple(
        AttemptResult(kind, kind, "reply", 1, (f"{kind}@x.test",))  # type: ignore[arg-type]
        for kind in kinds
    )
    return Attempt("m", delivery, "x.test", at, 1, 1.5, results=results)


@pytest.mark.parametrize(
    ("attempts", "expected"),
    [
        ([attempt(1, "delivered")], "delivered"),
        ([attempt(1, "deferred"), attempt(1, "delivered")], "delivered"),
        ([attempt(1, "deferred"), attempt(1, "bounced")], "bounced"),
        ([attempt(1, "delivered", "bounced")], "partly bounced"),
        ([attempt(1, "delivered"), attempt(2, "bounced")], "partly bounced"),
        ([attempt(1, "bounced", "deferred"), attempt(1, "delivered")], "partly bounced"),
        ([attempt(1, "deferred")], "gone"),
        ([attempt(1, "delivered"), attempt(2, "deferred")], "gone"),
    ],
)
def test_the_last_attempts_say_what_became_of_it(attempts: list[Attempt], expected: str) -> None:
    assert whereabouts(attempts) == expected


def test_a_message_that_is_gone_is_told_from_its_attempts() -> None:
    message_id = new_message_id(NOW)
    told = gone(message_id, [attempt(1, "deferred"), attempt(1, "delivered", at=NOW + 10)])
    assert (told.accepted_at, told.ended_at) == (NOW, NOW + 1_510)
    assert told.recipients == ("deferred@x.test", "delivered@x.test")


def test_what_is_no_id_of_ours_has_no_time() -> None:
    assert accepted_at("nonsense") == 0
