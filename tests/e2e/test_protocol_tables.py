"""The protocol tables hold against the whole running program, too."""

import ssl
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.program import PASSWORD, Program, free_port, wait_until
from tests.e2e.receiver import Received, Receiver
from tests.protocol.dialogue import BOUNDS, Mail, Server
from tests.protocol.test_protocol import *  # noqa: F403 - the same tests, another server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    receiver = Receiver()
    program = Program(tmp_path_factory.mktemp("tables") / "relay", receiver.port)
    implicit = free_port()

    def change(document) -> None:
        document["bounds"] = BOUNDS
        document["listeners"]["implicit"] = {"address": f"127.0.0.1:{implicit}", "tls": "implicit"}

    program.configure(change)
    program.start()
    yield Server(
        "localhost",
        program.port,
        implicit,
        ssl.create_default_context(cafile=str(program.directory / "tls/ca.pem")),
        _accepted(program, receiver),
        password=PASSWORD,
    )
    program.stop()
    receiver.close()


def _accepted(program: Program, receiver: Receiver) -> Callable[[], list[Mail]]:
    """What was accepted is what arrives, once all of it has arrived."""

    def mail() -> list[Mail]:
        return [_mail(message) for message in list(receiver.messages) if not _is_report(message)]

    def accepted() -> list[Mail]:
        count = program.metric("relay_messages_accepted_total")
        wait_until(lambda: len(mail()) >= count, what="delivery of all that was accepted")
        return mail()

    return accepted


def _mail(message: Received) -> Mail:
    header, _, body = message.content.partition(b"\r\n\r\n")
    return Mail(message.reverse_path, message.recipients, header + b"\r\n", body)


def _is_report(message: Received) -> bool:
    return message.reverse_path == "" and "multipart/report" in message.header("Content-Type")
