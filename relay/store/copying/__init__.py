"""From an embedded store to one that relays share: all of it, once, with nobody at work on either.

`tables` says what becomes of which row, `source` reads the files, `target` writes the database, and
`course` takes one to the other and proves at the end that all of it is there.
"""

from relay.store.copying.course import Copied, copy_store
from relay.store.copying.target import NotEmpty

__all__ = ["Copied", "NotEmpty", "copy_store"]
