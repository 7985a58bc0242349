"""Fetches MTA-STS policies from policy hosts over HTTPS (RFC 8461 §3.3). Thin I/O.

The host is found by the relay's own resolver, and refused where it is not public: whoever owns a
domain could have the relay send requests into its own network otherwise. Nothing is taken from a
host whose certificate is not valid for its name, no redirect is followed, and everything has a
bound: 64 KiB, a minute.
"""

import asyncio
import ssl
from ipaddress import IPv4Address, IPv6Address

import httpx

from relay.routing.addresses import not_public
from relay.routing.answers import Resolver
from relay.routing.mta_sts import LARGEST, PolicyError

FETCH_SECONDS = 60.0
STEP_SECONDS = 20.0
MOST_ADDRESSES = 4
HTTPS = 443


class FetchError(Exception):
    """The policy could not be fetched; the text says why, as a clause."""


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


class PolicyFetcher:
    """`context` checks certificates."""

    def __init__(self, hosts: PublicHosts, context: ssl.SSLContext, *, port: int = HTTPS) -> None:
        self._hosts = hosts
        self._context = context
        self._port = port

    async def fetch(self, domain: str) -> bytes:
        """What the policy host of `domain` serves. Raises `FetchError`, and `PolicyError` where it
        is served in a way that makes it invalid."""
        host = f"mta-sts.{domain}"
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                addresses = await self._hosts.locate(host)
                async with open_client(self._context) as client:
                    return await self._from_any(client, host, addresses)
        except TimeoutError:
            raise FetchError(f"{host} took longer than {FETCH_SECONDS:g} seconds") from None

    async def _from_any(
        self, client: httpx.AsyncClient, host: str, addresses: list[IPv4Address | IPv6Address]
    ) -> bytes:
        """From the first address that can be connected to."""
        for address in addresses:
            try:
                return await self._get(client, host, address)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
            except httpx.HTTPError as error:
                raise FetchError(f"{host} did not serve it: {said(error)}") from error
        raise FetchError(f"no connection to {host}: {said(failure)}") from failure

    async def _get(
        self, client: httpx.AsyncClient, host: str, address: IPv4Address | IPv6Address
    ) -> bytes:
        where = url(address, self._port, "/.well-known/mta-sts.txt")
        headers = {"Host": host, "Accept": "text/plain", "Accept-Encoding": "identity"}
        names = {"sni_hostname": host}
        async with client.stream("GET", where, headers=headers, extensions=names) as response:
            if response.status_code != httpx.codes.OK:
                raise FetchError(f"{host} answered {response.status_code}")
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if kind != "text/plain" or "Content-Encoding" in response.headers:
                raise PolicyError("it is not served as text/plain")
            content = bytearray()
            async for block in response.aiter_raw():
                content += block
                if len(content) > LARGEST:
                    raise PolicyError(f"it is larger than {LARGEST:,} octets")
            return bytes(content)


def open_client(context: ssl.SSLContext) -> httpx.AsyncClient:
    """A client that goes where it is told to and nowhere else: no redirect, no proxy of the
    environment."""
    return httpx.AsyncClient(
        verify=context, follow_redirects=False, trust_env=False, timeout=STEP_SECONDS
    )


def url(address: IPv4Address | IPv6Address, port: int, path: str) -> str:
    """An address, not a name: the name is known to be there. It goes along as SNI and Host."""
    where = f"[{address}]" if address.version == 6 else str(address)
    return f"https://{where}:{port}{path}"


def said(error: Exception) -> str:
    """Why a request failed, in a few words."""
    return " ".join(str(error).split())[:200] or type(error).__name__
