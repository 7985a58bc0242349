"""What a relay is called among those that share its store."""

import re
import socket
from typing import Annotated

from pydantic import AfterValidator, Field

from relay.config.section import Section

_NODE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_NAMELESS = "node"


def _node(text: str) -> str:
    if not _NODE.fullmatch(text):
        raise ValueError(
            "allowed are 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit"
            " first and last"
        )
    return text


class Fleet(Section):
    """Of use only where `store.url` names a database that other relays use too."""

    node: Annotated[str, AfterValidator(_node)] | None = Field(
        None, description="the name of this relay among them; absent: that of the host"
    )

    @property
    def name(self) -> str:
        """What this node is called: as configured, else as its host is."""
        return self.node or host_node(socket.gethostname())


def host_node(host: str) -> str:
    """The name of a node whose host has this name. What a node cannot be called by is left out."""
    kept = re.sub(r"[^A-Za-z0-9._-]", "", host)[:64].strip("._-")
    return kept or _NAMELESS
