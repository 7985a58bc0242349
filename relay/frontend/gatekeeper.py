"""What sessions ask of whoever counts: may this credential log in, who is blocked, who has left.

Counts must be exact over all processes that serve clients, so they are kept in one place (`Guard`),
and a session speaks to it through a `Gatekeeper`. Here is the one for a process that has door and
sessions in one.
"""

from typing import Protocol

from relay.frontend.door import Door
from relay.frontend.visit import Visit


class Gatekeeper(Protocol):
    """Between the sessions of one process and the guard, wherever it is."""

    async def log_in(self, credential: str, once: str = "") -> bool:
        """Count a session of a credential; False where it has too many, or where the one-time
        login that `once` names was used before."""

    def log_out(self, credential: str) -> None:
        """The end of a session that `log_in` counted."""

    def failed(self, client: str, username: str) -> None:
        """A login failed."""

    def client_blocked(self, client: str) -> float:
        """For how many seconds more this client may not log in; 0 if it may."""

    def user_blocked(self, username: str) -> float:
        """For how many seconds more no unknown password is tried for this user; 0 if it is."""

    def closed(self, visit: Visit) -> None:
        """A connection that was handed over has ended."""


class LocalGatekeeper:
    """Asks the guard of a door in the same process."""

    def __init__(self, door: Door) -> None:
        self._guard = door.guard
        self._door = door

    async def log_in(self, credential: str, once: str = "") -> bool:
        return self._guard.log_in(credential, once)

    def log_out(self, credential: str) -> None:
        self._guard.log_out(credential)

    def failed(self, client: str, username: str) -> None:
        self._guard.failed(client, username)

    def client_blocked(self, client: str) -> float:
        return self._guard.client_blocked(client)

    def user_blocked(self, username: str) -> float:
        return self._guard.user_blocked(username)

    def closed(self, visit: Visit) -> None:
        self._door.closed(visit)
