"""What the greylisting mailbox remembers: who has come before."""

from collections import OrderedDict

_REMEMBERED = 10_000


class Greylist:
    """Remembers the last 10,000 who came. In one process: there is one for all workers."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, None] = OrderedDict()

    def is_first(self, who: str) -> bool:
        """Whether `who` has not come before, as far as is remembered."""
        first = who not in self._seen
        self._seen[who] = None
        self._seen.move_to_end(who)
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return first
