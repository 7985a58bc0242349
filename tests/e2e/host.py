"""Another machine, which lacks addresses or has another clock: all tests run on one."""

from collections.abc import Iterable
from pathlib import Path

# Python imports this at the start of each process of the relay. Binding is all that the relay does
# with a source address that the kernel could refuse; these are all the clocks that say a date.
_SITECUSTOMIZE = """
import errno, os, socket, time

_bind = socket.socket.bind
_ahead = {ahead}
_time, _time_ns = time.time, time.time_ns

def bind(self, address):
    with open(os.environ["RELAY_TEST_LACKS"]) as lacks:
        if isinstance(address, tuple) and address[0] in lacks.read().split():
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return _bind(self, address)

socket.socket.bind = bind
if _ahead:
    time.time = lambda: _time() + _ahead
    time.time_ns = lambda: _time_ns() + _ahead * 10**9
"""


class Host:
    """Start a relay with its `env`. Its clock is so many seconds `ahead`."""

    def __init__(self, directory: Path, lacks: Iterable[str] = (), ahead: int = 0) -> None:
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(_SITECUSTOMIZE.format(ahead=ahead))
        self._lacks = directory / "lacks"
        self.lack(lacks)
        self.env = {"PYTHONPATH": str(directory), "RELAY_TEST_LACKS": str(self._lacks)}

    def lack(self, addresses: Iterable[str]) -> None:
        """From now on these, and no others."""
        self._lacks.write_text("\n".join(addresses))
