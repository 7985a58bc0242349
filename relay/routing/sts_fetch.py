"""Fetches MTA-STS policies from policy hosts over HTTPS (RFC 8461 §3.3)."""

import ssl

from relay.routing.https import HTTPS, FetchError, PublicHosts, Request, ask
from relay.routing.mta_sts import LARGEST, PolicyError

_OK = 200


class PolicyFetcher:
    """`context` checks certificates."""

    def __init__(self, hosts: PublicHosts, context: ssl.SSLContext, *, port: int = HTTPS) -> None:
        self._hosts = hosts
        self._context = context
        self._port = port

    async def fetch(self, domain: str) -> bytes:
        """What the policy host of `domain` serves. Raises `FetchError`, and `PolicyError` where it
        is served in a way that makes it invalid."""
        request = Request(
            host=f"mta-sts.{domain}",
            path="/.well-known/mta-sts.txt",
            port=self._port,
            headers={"Accept": "text/plain"},
            most=LARGEST,
        )
        answer = await ask(request, self._hosts, self._context)
        if answer.status != _OK:
            raise FetchError(f"{request.host} answered {answer.status}")
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "text/plain" or "content-encoding" in answer.headers:
            raise PolicyError("it is not served as text/plain")
        if answer.is_cut:
            raise PolicyError(f"it is larger than {LARGEST:,} octets")
        return answer.content
