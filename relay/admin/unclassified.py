"""What operators ask of replies that no rule knew: the values of questions, which the store answers
as `relay.store.values.UnclassifiedReply`s."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UnclassifiedRequest:
    """The `limit` most frequent ones."""

    limit: int = 100
