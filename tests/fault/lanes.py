"""Clients under load: lanes that send one message after another and note what was acknowledged."""

import smtplib
import ssl
import threading
import time
from collections.abc import Callable

from tests.e2e.program import PASSWORD, Program, letter


class Lanes:
    """Threads with a session each. They come back whenever the relay does, until `stop`.

    A message whose fate a lane does not know is not sent again: whatever arrives twice is the
    relay's doing.
    """

    def __init__(
        self,
        program: Program,
        count: int,
        message: Callable[[int, int], tuple],
        domain: str = "client.test",
    ) -> None:
        """`message(lane, number)` gives recipients and body; `domain` is that of Message-IDs."""
        self._domain = domain
        self.acknowledged: dict[str, tuple[str, ...]] = {}
        self.refused: list[smtplib.SMTPResponseException] = []
        self.sent = 0
        self._program = program
        self._message = message
        self._context = ssl.create_default_context(cafile=str(program.directory / "tls/ca.pem"))
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a lane hangs"

    def _run(self, lane: int) -> None:
        number = 0
        while not self._stopping.is_set():
            try:
                with smtplib.SMTP("localhost", self._program.port, timeout=30) as client:
                    client.starttls(context=self._context)
                    client.login("app", PASSWORD)
                    while not self._stopping.is_set():
                        number += 1
                        self._send(client, lane, number)
            except (smtplib.SMTPException, OSError):
                time.sleep(0.02)  # it was killed; it comes back

    def _send(self, client: smtplib.SMTP, lane: int, number: int) -> None:
        name = f"<{lane}.{number}@{self._domain}>"
        recipients, body = self._message(lane, number)
        self.sent += 1
        try:
            client.sendmail("app@sender.test", recipients, letter(body=body, message_id=name))
        except smtplib.SMTPResponseException as refusal:
            self.refused.append(refusal)
            raise
        self.acknowledged[name] = tuple(recipients)
