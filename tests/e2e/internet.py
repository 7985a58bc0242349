"""A small Internet for the real program: domains with MX records, and scripted servers behind them.

Mail to MX hosts goes to port 25, so the servers listen there, each on an address of its own. That
takes a privilege; where it is missing the tests are skipped, and in CI, which runs every test
(`RELAY_CI`), they fail instead.
"""

import asyncio
import email
import email.policy
import itertools
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

import pytest

from relay.admin.client import Client
from relay.admin.control import MessageRequest, Refused
from relay.admin.endpoints import QUEUE_SHOW
from relay.store.values import QueueEntry
from tests.delivery.receiver import Receiver, Scripted
from tests.e2e.program import Program, letter, wait_until
from tests.e2e.receiver import Receiver as Sink
from tests.nameserver import NameServer

SMTP_PORT = 25


def skip_unless(possible: bool, why: str) -> None:
    """Skip a test for a `why` that is the machine's; where nothing may be skipped, fail."""
    if possible:
        return
    if os.environ.get("RELAY_CI"):
        pytest.fail(f"CI must run this test: {why}")
    pytest.skip(why)


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that the relay has taken. `id` is the relay's, `at` monotonic seconds."""

    id: str
    message_id: str
    at: float


class Internet:
    """Name server, receiving servers and the inbox of the sender, from `with` to its end."""

    def __init__(self) -> None:
        self.names = NameServer()
        self.inbox = Sink()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[Any] = []
        # Runs that go on at the same time keep out of each other's way.
        self._addresses = (f"127.{os.getpid() % 200 + 20}.25.{n}" for n in itertools.count(1))

    def __enter__(self) -> Self:
        self.names.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            self._call(server.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self.inbox.close()
        self.names.__exit__()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    def start(self, server: Any) -> None:
        """Start anything else that serves; it ends with the Internet."""
        self._call(server.__aenter__())
        self._servers.append(server)

    def address(self) -> str:
        """A loopback address that nothing else uses."""
        return next(self._addresses)

    def server(
        self,
        host: str,
        script: Mapping[str, Scripted] | None = None,
        *,
        address: str = "",
        **options: Any,
    ) -> Receiver:
        """A server that listens on port 25, known to DNS under the name `host`."""
        address = address or self.address()
        server = Receiver(script, host=address, port=SMTP_PORT, name=host, **options)
        deadline = time.monotonic() + 30
        while True:
            try:
                self._call(server.__aenter__())
                break
            except PermissionError:
                skip_unless(False, "no privilege to listen on port 25")
            except OSError:  # another run of these tests has the address, which is soon over
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        self._servers.append(server)
        self.names.zone[host, "AAAA" if ":" in address else "A"] = [address]
        return server

    def domain(
        self, domain: str, script: Mapping[str, Scripted] | None = None, **options: Any
    ) -> Receiver:
        """A domain with one MX, and the server there."""
        server = self.server(f"mx.{domain}", script, **options)
        self.names.zone[domain, "MX"] = [f"10 mx.{domain}."]
        return server

    def reports(self, sent: Sent) -> list[EmailMessage]:
        """The delivery reports about a message that have come back to its sender."""
        found = []
        for message in list(self.inbox.messages):
            parsed = email.message_from_bytes(message.content, policy=email.policy.SMTP)
            assert isinstance(parsed, EmailMessage)
            if sent.message_id.encode() in message.content:
                found.append(parsed)
        return found

    def report(self, sent: Sent) -> dict[str, tuple[str, str, str]]:
        """The one report about a message: action, status and diagnostic for each recipient."""
        wait_until(lambda: self.reports(sent), 20, "a report")
        (report,) = self.reports(sent)
        assert report.get_content_type() == "multipart/report"
        parts = list(report.iter_parts())
        return {
            str(fields["Final-Recipient"]).partition(";")[2].strip(): (
                str(fields["Action"]),
                str(fields["Status"]),
                str(fields["Diagnostic-Code"]),
            )
            for fields in parts[1].get_payload()[1:]
        }


class Sender:
    """The real program, which sends into an `Internet`."""

    def __init__(self, directory: Path, internet: Internet, change: Callable[[Any], None]) -> None:
        inbox = internet.inbox.port
        self.program = Program(directory / "relay", inbox)
        self._numbers = itertools.count(1)

        def configure(document: Any) -> None:
            document["routes"] = {
                "sender.test": {"to": f"127.0.0.1:{inbox}"},
                "*": {"to": "mx"},
            }
            document["delivery"] = {
                "nameservers": [internet.names.text],
                "allow_private_destinations": True,
            }
            change(document)

        self.program.configure(configure)
        self.program.start()
        self._control = Client(self.program.directory / self.program.document()["data_dir"])

    def send(
        self,
        *recipients: str,
        configuration_set: str = "",
        body: str = "Hello.\r\n",
        subject: str = "Test",
        options: tuple[str, ...] = (),
    ) -> Sent:
        """Send one message; `options` are parameters of MAIL, such as SMTPUTF8."""
        message_id = f"<case{next(self._numbers)}@client.test>"
        headers = f"X-Note: {subject}\r\n"
        if configuration_set:
            headers += f"X-SES-CONFIGURATION-SET: {configuration_set}\r\n"
        with self.program.client() as client:
            if "SMTPUTF8" in options:
                client.command_encoding = "utf-8"
            code, text = client.mail("app@sender.test", list(options))
            assert code == 250, text
            for recipient in recipients:
                code, text = client.docmd("RCPT", f"TO:<{recipient}>")
                assert code == 250, text
            code, text = client.data(letter(headers, body, message_id))
        assert code == 250, text
        return Sent(text.decode().split()[-1], message_id, time.monotonic())

    def deliveries(self, sent: Sent) -> tuple[QueueEntry, ...]:
        """What of a message is still in the queue."""
        try:
            return self._control.call(QUEUE_SHOW, MessageRequest(sent.id)).deliveries
        except Refused:
            return ()

    def is_over(self, sent: Sent) -> None:
        """Wait until nothing of the message is in the queue."""
        wait_until(lambda: not self.deliveries(sent), 30, "an empty queue")

    def waiting(self, sent: Sent, attempts: int = 1) -> QueueEntry:
        """The one delivery of the message that waits after so many attempts."""

        def found() -> list[QueueEntry]:
            return [d for d in self.deliveries(sent) if d.attempts >= attempts and not d.claimed]

        wait_until(found, 20, f"{attempts} attempts")
        (delivery,) = found()
        return delivery

    def shown(self, sent: Sent) -> str:
        """What `relay queue show` prints of the message."""
        return str(self.program.run("queue", "show", sent.id).stdout)

    def retry(self, sent: Sent) -> None:
        """`relay queue retry`."""
        self.program.run("queue", "retry", sent.id)
