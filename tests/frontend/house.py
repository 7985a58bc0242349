"""A front end with everything behind it that a test needs, on loopback, with real TLS."""

import asyncio
import io
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from relay.admission.submission import Refusal, Submission
from relay.config.model import Config
from relay.frontend.authenticator import Authenticator
from relay.frontend.door import Door
from relay.frontend.frontend import Frontend
from relay.frontend.gatekeeper import LocalGatekeeper
from relay.frontend.visit import Visit
from relay.mail.verp import VerpKey
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from relay.store.happenings import Happening
from relay.store.values import Accepted, Body, Message, NewMessage

HOSTNAME = "relay.test"
USERNAME, PASSWORD = "app", "correct horse battery staple"


@dataclass
class MemoryBody:
    """A `BodyWriter` that keeps everything."""

    store: "MemoryStore"
    octets: bytearray = field(default_factory=bytearray)

    @property
    def in_memory(self) -> int:
        return len(self.octets)

    async def write(self, chunk: bytes) -> None:
        if self.store.write_error is not None:
            raise self.store.write_error
        self.octets += chunk

    async def finish(
        self,
        *,
        simple_digest: bytes,
        relaxed_digest: bytes | None,
        eight_bit: bool,
        dots: bool | None = None,
    ) -> Body:
        octets = bytes(self.octets)
        return Body(len(octets), simple_digest, relaxed_digest, eight_bit, octets, "", dots)

    async def discard(self) -> None:
        self.store.discarded += 1
        self.octets.clear()


class MemoryStore:
    """Holds what was accepted; fails as told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.write_error: Exception | None = None
        self.accept_error: Exception | None = None
        self.free = 10**12
        self.bodies = 0
        self.discarded = 0
        self.happened: list[tuple[str, Happening]] = []
        self.heard: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.accepting = asyncio.Event()

    @property
    def outbox(self) -> "MemoryStore":
        return self

    async def add(
        self, message_id: str, at: int, what: Happening, once: str = "", most: int | None = None
    ) -> bool:
        if self.write_error is not None:
            raise self.write_error
        alike = [word for word in self.heard if word.rpartition("-")[0] == once.rpartition("-")[0]]
        if once in self.heard or (most is not None and len(alike) >= most):
            return False
        self.heard.add(once)
        self.happened.append((message_id, what))
        return True

    def new_body(self) -> MemoryBody:
        self.bodies += 1
        return MemoryBody(self)

    async def accept(self, new: NewMessage) -> Accepted:
        self.accepting.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.accept_error is not None:
            raise self.accept_error
        self.messages.append(new.message)
        return Accepted((), ())

    async def free_space(self) -> int:
        return self.free


class OpenAdmission:
    """Admits everything, or refuses as told."""

    def __init__(self) -> None:
        self.refusal: Refusal | None = None
        self.error: Exception | None = None
        self.submissions: list[Submission] = []

    async def admit(self, submission: Submission) -> NewMessage | Refusal:
        self.submissions.append(submission)
        if self.error is not None:
            raise self.error
        if self.refusal is not None:
            return self.refusal
        message = Message(
            id=submission.id,
            accepted_at=submission.received_at,
            expires_at=submission.received_at + 1,
            envelope=submission.envelope,
            credential=submission.credential,
            configuration_set="main",
            identity="sender.test",
            header=submission.headers.to_bytes(),
            body=submission.body,
        )
        return NewMessage(message, submission.received_at)


@dataclass
class House:
    """Door and front end in one process."""

    door: Door
    frontend: Frontend
    store: MemoryStore
    admission: OpenAdmission
    authenticator: Authenticator
    metrics: Metrics
    log: io.StringIO
    client_tls: ssl.SSLContext
    config: Config

    def address(self, listener: str = "submission") -> tuple[str, int]:
        return self.door.addresses[listener]

    def reconfigure(self, config: Config) -> None:
        """As a reload does it."""
        prepared, doors = self.frontend.prepare(config), self.door.prepare(config)
        self.door.put_in_force(doors)
        self.frontend.put_in_force(prepared)

    async def drain(self, grace: float) -> None:
        """As a stop does it."""
        self.door.stop()
        await self.frontend.drain(grace)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"relay_{name}", labels) or 0.0


class Authority:
    """A certificate for the relay, and who trusts it. Costly to make: one for a test run."""

    def __init__(self, directory: Path) -> None:
        ca = trustme.CA()
        certificate = ca.issue_cert(HOSTNAME, "localhost", "127.0.0.1")
        self.certificate, self.key = directory / "cert.pem", directory / "key.pem"
        self.certificate.write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
        self.key.write_bytes(certificate.private_key_pem.bytes())
        self.client = ssl.create_default_context()
        ca.configure_trust(self.client)


def make_config(authority: Authority, directory: Path, **changes: object) -> Config:
    """A configuration as the loader would give it; `changes` replace whole sections."""
    sections: dict[str, object] = {
        "hostname": HOSTNAME,
        "data_dir": directory,
        "tls": {"certificate": authority.certificate, "key": authority.key},
        "listeners": {
            "submission": {"address": "127.0.0.1:0"},
            "implicit": {"address": "127.0.0.1:0", "tls": "implicit"},
        },
        "bounds": {"failed_login_delay": "1ms"},
        "credentials": {USERNAME: {"password": PASSWORD}},
        "identities": {"sender.test": {}},
        "configuration_sets": {"main": {"pool": "main"}},
        "pools": {"main": {"sources": [{"address": "127.0.0.2"}]}},
    }
    return Config.model_validate({**sections, **changes})


@asynccontextmanager
async def open_house(
    config: Config,
    authority: Authority,
    *,
    clock: Callable[[], float] | None = None,
    return_path_keys: Sequence[VerpKey] = (),
) -> AsyncIterator[House]:
    """A running front end; drained at the end."""
    store, admission, metrics, log = MemoryStore(), OpenAdmission(), Metrics(), io.StringIO()
    authenticator = Authenticator()
    authenticator.load(config)
    logger = make_logger(level="debug", stream=log)

    def hand_over(visit: Visit, connection: socket.socket) -> bool:
        frontend.adopt(visit, connection)
        return True

    door = Door(
        config=config,
        hand_over=hand_over,
        metrics=metrics,
        log=logger,
        **({"clock": clock} if clock else {}),
    )
    frontend = Frontend(
        config=config,
        admission=admission,
        store=store,
        accept=store.accept,
        authenticator=authenticator,
        gatekeeper=LocalGatekeeper(door),
        metrics=metrics,
        log=logger,
        return_path_keys=return_path_keys,
    )
    await frontend.start()
    house = House(
        door, frontend, store, admission, authenticator, metrics, log, authority.client, config
    )
    try:
        await door.start()
        yield house
    finally:
        await house.drain(1)
        authenticator.close()
