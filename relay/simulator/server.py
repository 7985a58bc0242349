"""The simulator's SMTP server, on aiosmtpd as it comes: loopback and development only."""

import asyncio
import os
import ssl
import time
from collections.abc import Mapping

from aiosmtpd.smtp import SMTP, Envelope, Session

from relay.config.model import Simulator
from relay.mail.address import AddressError, parse_path
from relay.mail.headers import header_field
from relay.observe.logging import Logger
from relay.simulator.answers import answer
from relay.simulator.greylist import Greylist
from relay.simulator.mailbox import Mailbox
from relay.simulator.verify import authentication_results

_LARGEST = 50_000_000


class _LongLines(SMTP):
    """Takes lines as long as the relay passes on (the library's limit is 1,000 octets)."""

    line_length_limit = 1_000_000


class _Handler:
    """What happens at RCPT and at the end of data."""

    def __init__(
        self, mailbox: Mailbox, records: Mapping[str, str], name: str, log: Logger
    ) -> None:
        self._mailbox = mailbox
        self._records = records
        self._name = name
        self._log = log
        self._greylist = Greylist()

    async def handle_RCPT(
        self, _: SMTP, session: Session, envelope: Envelope, address: str, __: list[str]
    ) -> str:
        reply = answer(address, not self._greylist.is_first(address))
        if reply.is_positive:
            envelope.rcpt_tos.append(address)
        return str(reply)

    async def handle_DATA(self, _: SMTP, session: Session, envelope: Envelope) -> str:
        content = envelope.original_content or b""
        results = await asyncio.to_thread(
            authentication_results, content, self._records, self._name
        )
        path = await asyncio.to_thread(
            self._mailbox.keep, self._trace(session, envelope, results), content, _now_ms()
        )
        self._log.info(
            "simulator took a message",
            reverse_path=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            source=_peer(session),
            results=results,
            file=str(path),
        )
        return f"250 2.0.0 Ok kept as {path.name}"

    def _trace(self, session: Session, envelope: Envelope, results: str) -> list[bytes]:
        protocol = "ESMTPS" if session.ssl else "ESMTP"
        received = f"from {session.host_name} ([{_peer(session)}]) by {self._name} with {protocol}"
        return [
            header_field("Return-Path", _bracketed(envelope.mail_from)),
            *(header_field("Delivered-To", to) for to in envelope.rcpt_tos),
            header_field("Authentication-Results", results),
            header_field("Received", received),
        ]


def _bracketed(reverse_path: str | None) -> str:
    try:
        return f"<{parse_path(f'<{reverse_path or str()}>', smtputf8=True)}>"
    except AddressError:
        return "<>"


def _peer(session: Session) -> str:
    return str(session.peer[0]) if session.peer else "unknown"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def start_simulator(
    config: Simulator,
    *,
    name: str,
    tls: ssl.SSLContext,
    records: Mapping[str, str],
    log: Logger,
) -> asyncio.Server:
    """Listen; `records` are the DKIM records by DNS name. Raises OSError when it cannot bind."""
    mailbox = await asyncio.to_thread(Mailbox, config.mailbox)
    handler = _Handler(mailbox, records, name, log)
    host, _, port = config.address.rpartition(":")

    def session() -> SMTP:
        return _LongLines(
            handler,
            hostname=name,
            ident="relay mailbox simulator",
            tls_context=tls,
            enable_SMTPUTF8=True,
            data_size_limit=_LARGEST,
            timeout=300,
        )

    try:
        return await asyncio.get_running_loop().create_server(session, host.strip("[]"), int(port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        text = f"the simulator cannot listen on {config.address}: {reason}"
        raise OSError(error.errno, text) from error
