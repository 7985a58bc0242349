"""A database that says nothing: clients hear 451 in time, operators at once, nothing is lost."""

import os
import signal
import smtplib
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.program import Program, descendants, letter, wait_until
from tests.e2e.receiver import Receiver
from tests.fault.test_fleet import database  # noqa: F401 - a fixture
from tests.postgres import PostgresServer

CLIENTS_WAIT = 15.0
OPERATORS_WAIT = 5.0
START_OF_PYTHON = 3.0  # seconds at most, on a machine that is busy


def refusal(client: smtplib.SMTP, message_id: str, body: str = "Hello.\r\n") -> tuple[int, float]:
    """The reply to a message that goes over a session, and after how many seconds it came."""
    began = time.monotonic()
    try:
        client.sendmail("app@sender.test", ["to@dest.test"], letter("", body, message_id))
    except smtplib.SMTPResponseException as refused:
        return refused.smtp_code, time.monotonic() - began
    return 250, time.monotonic() - began


def quickly(program: Program, *words: str) -> str:
    """What a command says; it fails, and soon."""
    began = time.monotonic()
    ran = program.run(*words, check=False)
    assert ran.returncode == 1
    assert time.monotonic() - began < OPERATORS_WAIT + START_OF_PYTHON
    return ran.stdout + ran.stderr


@pytest.mark.timeout(120)
def test_a_silent_database_keeps_nobody_waiting_and_nothing_is_taken(
    program: Program,
    receiver: Receiver,
    database: PostgresServer,  # noqa: F811
) -> None:
    def change(document) -> None:
        document["store"] = {"url": database.new_database(), "lease": "6s"}
        document["workers"] = 1

    program.configure(change)
    program.start()
    program.send(message_id="<before@client.test>")
    small, large = program.client(), program.client()
    server = (database.pid, *descendants(database.pid))
    with ThreadPoolExecutor(2) as threads:
        for process in server:
            os.kill(process, signal.SIGSTOP)
        try:
            tried = [
                threads.submit(refusal, small, "<small@client.test>"),
                threads.submit(refusal, large, "<large@client.test>", ("x" * 70 + "\r\n") * 8_000),
            ]
            # Who was right once still is: 535 would have a client give its mail up.
            with program.client() as client:
                assert client.noop()[0] == 250
            assert "not reached since" in quickly(program, "status")
            assert "store cannot do this now" in quickly(program, "queue", "list")
            assert "store cannot do this now" in quickly(program, "nodes")
            assert program.http("/readyz")[0] == 503
            assert program.http("/healthz")[0] == 200
            assert "is in force" in program.run("reload").stdout
            for code, seconds in (each.result() for each in tried):
                assert code == 451
                assert seconds <= CLIENTS_WAIT
            assert refusal(small, "<next@client.test>")[0] == 451
        finally:
            for process in server:
                os.kill(process, signal.SIGCONT)
    wait_until(lambda: program.http("/readyz")[0] == 200, 30, "a relay that is ready again")
    wait_until(
        lambda: refusal(small, "<after@client.test>")[0] == 250, 10, "a message that is taken"
    )
    small.quit()
    large.quit()
    wait_until(
        lambda: "<after@client.test>" in {m.header("Message-ID") for m in receiver.messages},
        30,
        "delivery of new mail",
    )
    wait_until(lambda: not program.json("queue", "list"), 30, "an empty queue")
    known = {message.header("Message-ID") for message in receiver.messages}
    assert known == {"<before@client.test>", "<after@client.test>"}
