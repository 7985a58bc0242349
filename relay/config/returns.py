"""The section `returns`: a listener for what comes back, to return-paths and from feedback loops.

It is apart from the listeners of clients: nobody logs in there, and nobody can have mail sent.
"""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from relay.config.names import parse_bind_address, parse_network
from relay.config.section import Section
from relay.config.units import parse_duration, parse_size
from relay.mail.address import AddressError, parse_mailbox

LISTENER = "returns"
"""Its name beside those of `listeners`, in metrics and the log."""

_DAY = 86_400.0


def _bind_address(text: str) -> str:
    return str(parse_bind_address(text))


def _mailbox(text: str) -> str:
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise ValueError("allowed is a mail address such as fbl@bounce.example.com") from error


def _lifetime(value: object) -> float:
    seconds = parse_duration(value)
    if not _DAY <= seconds <= 365 * _DAY:
        raise ValueError("allowed is a time from 1d to 365d")
    return seconds


_Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(parse_network)]
_Mailbox = Annotated[str, AfterValidator(_mailbox)]


class Returns(Section):
    """Takes delivery reports and complaints in, and nothing else."""

    address: Annotated[str, AfterValidator(_bind_address)] = Field(
        description="host:port, most often 0.0.0.0:25: other mail servers connect there"
    )
    networks: tuple[_Network, ...] = Field((), description="allowed to connect; empty: any")
    proxy_protocol: tuple[_Network, ...] = Field(
        (), description="load balancers whose PROXY header is required and trusted; empty: off"
    )
    feedback_addresses: tuple[_Mailbox, ...] = Field(
        (), max_length=100, description="to which providers send complaints (feedback loops)"
    )
    postmaster: _Mailbox | None = Field(
        None, description="whom people are told to write to, who write to postmaster@ or abuse@"
    )
    accept_for: Annotated[float, BeforeValidator(_lifetime)] = Field(
        30 * _DAY,
        description="how long after a message was accepted reports about it are",
    )
    message_size: Annotated[int, BeforeValidator(parse_size)] = Field(
        1_000_000, ge=64_000, le=10_000_000, description="of one report"
    )
    connections: int = Field(200, ge=1, le=10_000, description="beside those of clients")
    connections_per_client: int = Field(20, ge=1)
