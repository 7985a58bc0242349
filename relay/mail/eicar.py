"""Finding the EICAR test file, which stands for a virus and harms nobody.

SES rejects a message that holds it, so that senders can see what a rejection looks like; so does
the relay. It is found where a line of the body begins with it, as it is or in base64: that is how
it stands as text and as an attachment. Pure; the body comes in blocks of any size.
"""

from base64 import b64encode

BAD_CONTENT = "Bad content"
"""SES's word for why a message is rejected."""

# In two parts, so that scanners do not take this very file for one.
_TEST_FILE = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
# So much of it stands on one line however short the lines of base64 are cut.
_ENCODED = b64encode(_TEST_FILE[:42])
_KEPT = 2 + len(_TEST_FILE)


class EicarFinder:
    """Feed it a body block by block; then `found` tells."""

    __slots__ = ("_tail", "found")

    def __init__(self) -> None:
        self.found = False
        self._tail = b"\r\n"

    def update(self, block: bytes) -> None:
        """Take the next octets of the body."""
        # A short tail on top of a long block is cheaper to look at apart than to copy together.
        seam = self._tail + block[:_KEPT]
        self.found = self.found or _holds(seam) or _holds(block)
        self._tail = (self._tail + block)[-_KEPT:] if len(block) < _KEPT else block[-_KEPT:]


def _holds(octets: bytes) -> bool:
    return b"\r\n" + _TEST_FILE in octets or b"\r\n" + _ENCODED in octets
