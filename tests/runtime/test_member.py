"""One worker as the supervisor sees it: the connections that it is handed."""

import socket
from types import SimpleNamespace
from typing import Any

from relay.frontend.visit import Visit
from relay.runtime.door_line import door_pair
from relay.runtime.member import MOST_UNDER_WAY, Member

VISIT = Visit("submission", "127.0.0.1")


async def test_every_connection_in_the_door_can_be_acknowledged() -> None:
    ours, theirs = door_pair()
    theirs.setblocking(False)
    link: Any = SimpleNamespace(close=lambda: None)
    process: Any = SimpleNamespace(pid=1, returncode=None)
    member = Member("worker-1", process, ours, lambda: None)
    member.link = link
    mine, peer = socket.socketpair()
    with theirs, peer:
        handed = 0
        # It takes them out as they come, while nobody here looks at what it acknowledges.
        while member.hand_over(VISIT, mine.dup()) and handed < 2_000:
            handed += 1
            theirs.recv(4_096)
            theirs.send(b".")
        assert handed == MOST_UNDER_WAY
        member.close()
        mine.close()
        assert member.take_back() == []
        assert peer.recv(1) == b""  # no copy of any is left open
