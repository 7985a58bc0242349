"""HTTPS requests to hosts that others name: policy hosts, and places where reports go. Thin I/O.

The host is found by the relay's own resolver, and refused where it is not public: whoever owns a
domain could have the relay send requests into its own network otherwise. Nothing is said to a host
whose certificate is not valid for its name, no redirect is followed, no proxy of the environment is
used, and everything has a bound. All that fails is `FetchError`.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from relay.routing.addresses import not_public
from relay.routing.answers import Resolver

if TYPE_CHECKING:
    import httpx

FETCH_SECONDS = 60.0
STEP_SECONDS = 20.0
MOST_ADDRESSES = 4
HTTPS = 443


class FetchError(Exception):
    """The request could not be made, or was not answered; the text says why, as a clause."""


class PublicHosts:
    """Where HTTPS requests to hosts that others name may go."""

    def __init__(self, resolver: Resolver, *, allow_private: bool) -> None:
        self._resolver = resolver
        self._allow_private = allow_private

    async def locate(self, host: str) -> list[IPv4Address | IPv6Address]:
        """Some addresses of a host, IPv4 first. Raises `FetchError`."""
        answers = await asyncio.gather(
            self._resolver.addresses(host, 4), self._resolver.addresses(host, 6)
        )
        found = [address for answer in answers for address in answer.addresses]
        if not found:
            failed = next((a.detail for a in answers if a.status == "failure"), "it has no address")
            raise FetchError(f"{host} could not be found: {failed}")
        if self._allow_private:
            return found[:MOST_ADDRESSES]
        public = [address for address in found if not not_public(address)]
        if not public:
            raise FetchError(f"{host} is {not_public(found[0])}, where requests are not sent to")
        return public[:MOST_ADDRESSES]


@dataclass(frozen=True, slots=True)
class Request:
    """`path` begins with a slash, and holds the query. `most` octets of the answer are taken."""

    host: str
    path: str
    port: int = HTTPS
    headers: Mapping[str, str] | None = None
    content: bytes | None = None  # which makes it a POST
    most: int = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """`is_cut`: there was more than was asked for. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    is_cut: bool = False


async def ask(request: Request, hosts: PublicHosts, context: ssl.SSLContext) -> Answer:
    """The answer to `request`, from the first address of its host that can be connected to.
    `context` checks the certificate. Raises `FetchError`."""
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            addresses = await hosts.locate(request.host)
            return await _ask_any(request, addresses, context)
    except TimeoutError:
        raise FetchError(f"{request.host} took longer than {FETCH_SECONDS:g} seconds") from None


async def _ask_any(
    request: Request, addresses: list[IPv4Address | IPv6Address], context: ssl.SSLContext
) -> Answer:
    # Few relays ever ask: the others do not pay for the client, nor for what it brings along.
    import httpx  # noqa: PLC0415

    async with httpx.AsyncClient(
        verify=context, follow_redirects=False, trust_env=False, timeout=STEP_SECONDS
    ) as client:
        for address in addresses:
            try:
                return await _ask_one(client, request, address)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise FetchError(f"{request.host} did not answer: {_said(error)}") from error
    raise FetchError(f"no connection to {request.host}: {_said(failure)}") from failure


async def _ask_one(
    client: "httpx.AsyncClient", request: Request, address: IPv4Address | IPv6Address
) -> Answer:
    # An address, not a name: the name is known to be there. It goes along as SNI and Host.
    where = f"[{address}]" if address.version == 6 else str(address)
    named = request.host if request.port == HTTPS else f"{request.host}:{request.port}"
    async with client.stream(
        "GET" if request.content is None else "POST",
        f"https://{where}:{request.port}{request.path}",
        content=request.content,
        headers={"Host": named, "Accept-Encoding": "identity", **(request.headers or {})},
        extensions={"sni_hostname": request.host},
    ) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        content = bytearray()
        async for block in response.aiter_raw():
            content += block
            if len(content) > request.most:
                return Answer(response.status_code, headers, b"", is_cut=True)
        return Answer(response.status_code, headers, bytes(content))


def _said(error: Exception) -> str:
    """Why a request failed, in a few words."""
    return " ".join(str(error).split())[:200] or type(error).__name__
