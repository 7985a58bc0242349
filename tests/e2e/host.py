"""A host that lacks addresses, as another machine does: all tests run on one."""

from collections.abc import Iterable
from pathlib import Path

# Python imports this at the start of each process of the relay. Binding is all that the relay does
# with a source address that the kernel could refuse.
_SITECUSTOMIZE = """
import errno, os, socket

_bind = socket.socket.bind

def bind(self, address):
    with open(os.environ["RELAY_TEST_LACKS"]) as lacks:
        if isinstance(address, tuple) and address[0] in lacks.read().split():
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    return _bind(self, address)

socket.socket.bind = bind
"""


class Host:
    """Start a relay with its `env`."""

    def __init__(self, directory: Path, lacks: Iterable[str]) -> None:
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(_SITECUSTOMIZE)
        self._lacks = directory / "lacks"
        self.lack(lacks)
        self.env = {"PYTHONPATH": str(directory), "RELAY_TEST_LACKS": str(self._lacks)}

    def lack(self, addresses: Iterable[str]) -> None:
        """From now on these, and no others."""
        self._lacks.write_text("\n".join(addresses))
