"""Several workers are one relay: they share connections, limits, metrics and mail."""

import os
import signal
import smtplib
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.program import PASSWORD, RELAY, Program, descendants, letter, wait_until
from tests.e2e.receiver import Later, Receiver

WORKERS = 2


@pytest.fixture
def program(tmp_path: Path, receiver: Receiver) -> Iterator[Program]:
    """Two workers, whatever the machine."""
    program = Program(tmp_path / "relay", receiver.port)
    program.configure(lambda document: document.update(workers=WORKERS))
    yield program
    program.stop()


def connections(program: Program) -> list[int]:
    return sorted(w["connections"] for w in program.json("status")["workers"])


def is_alive(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def send_on(client: smtplib.SMTP, name: str, recipients=("to@dest.test",)) -> None:
    client.sendmail("app@sender.test", list(recipients), letter(message_id=name))


def test_connections_are_shared_evenly_and_counted_as_one_relays(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(program.client()) for _ in range(10)]
        assert connections(program) == [5, 5]
        assert program.metric("relay_connections", listener="submission") == 10
        for number, client in enumerate(clients):
            send_on(client, f"<{number}@client.test>")
    wait_until(lambda: len(receiver.messages) == 10, what="delivery")
    wait_until(lambda: connections(program) == [0, 0], what="the end of the sessions")
    assert program.metric("relay_messages_accepted_total") == 10
    assert program.metric("relay_recipients_delivered_total") == 10
    assert program.metric("relay_connections", listener="submission") == 0
    assert program.metric("relay_workers") == WORKERS


def test_a_killed_worker_is_replaced_and_its_mail_goes_out_at_once(
    program: Program, receiver: Receiver
) -> None:
    # Its lease would end in five minutes: that is not what frees the mail.
    program.configure(
        lambda document: document.update(store={"lease": "300s"}, shutdown={"grace": "1s"})
    )
    receiver.behave = lambda stage, text: Later(600) if stage == "final" else None
    program.start()
    before = program.workers()
    with ExitStack() as stack:
        for number in range(4):
            client = stack.enter_context(program.client())
            send_on(client, f"<{number}@client.test>")
        wait_until(lambda: len(receiver.messages) == 4, what="the final dots")
        receiver.behave = lambda stage, text: None
        os.kill(before["worker-1"], signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: len(receiver.messages) == 6, 10, "the dead worker's mail, again")
        assert time.monotonic() - killed < 10
        wait_until(lambda: set(program.workers()) == set(before), what="a new worker")
        after = program.workers()
        assert after["worker-1"] != before["worker-1"]
        assert after["worker-2"] == before["worker-2"]
        assert program.metric("relay_worker_deaths_total") == 1
        assert program.metric("relay_messages_accepted_total") >= 2
        stack.pop_all()  # some of these sessions died with their worker
    program.send(message_id="<later@client.test>")
    wait_until(lambda: "<later@client.test>" in receiver.ids(), what="mail after that")


def test_a_worker_that_hangs_is_ended_and_its_mail_goes_out(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda document: document.update(store={"lease": "5s"}))
    receiver.behave = lambda stage, text: Later(600) if stage == "final" else None
    program.start()
    before = program.workers()
    for number in range(2):
        program.send(message_id=f"<{number}@client.test>")
    wait_until(lambda: len(receiver.messages) == 2, what="the final dots")
    receiver.behave = lambda stage, text: None
    for process in before.values():
        os.kill(process, signal.SIGSTOP)
    wait_until(lambda: len(receiver.messages) == 4, 30, "their mail, from other processes")
    wait_until(lambda: len(program.workers()) == WORKERS, what="new workers")
    assert not set(program.workers().values()) & set(before.values())
    assert not any(map(is_alive, before.values()))


def test_the_counts_of_a_dead_worker_are_given_back(program: Program, receiver: Receiver) -> None:
    program.configure(lambda document: document.update(bounds={"connections_per_credential": 2}))
    program.start()
    first, second = program.client(), program.client()
    with pytest.raises(smtplib.SMTPException):
        program.client()
    for process in program.workers().values():
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: program.metric("relay_worker_deaths_total") == WORKERS, what="their death")
    wait_until(lambda: len(program.workers()) == WORKERS, what="new workers")
    assert program.metric("relay_connections", listener="submission") <= 1
    with program.client(), program.client():
        pass
    first.close()
    second.close()


def test_clients_wait_while_no_worker_runs(program: Program, receiver: Receiver) -> None:
    program.start()
    for process in program.workers().values():
        os.kill(process, signal.SIGKILL)
    program.send(message_id="<patient@client.test>")
    wait_until(lambda: receiver.ids() == ["<patient@client.test>"], what="delivery")


def test_workers_end_with_their_supervisor_and_a_new_one_can_start(
    program: Program, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: Later(600) if stage == "final" else None
    program.start()
    program.send(message_id="<1@client.test>")
    wait_until(lambda: len(receiver.messages) == 1, what="the final dot")
    workers = program.workers().values()
    assert program.process is not None
    program.process.kill()
    program.process.wait()
    receiver.behave = lambda stage, text: None
    program.start()
    wait_until(lambda: not any(map(is_alive, workers)), what="the end of the old workers")
    wait_until(lambda: receiver.ids().count("<1@client.test>") == 2, what="delivery anew")


def test_a_rate_holds_for_all_workers_together(program: Program, receiver: Receiver) -> None:
    def change(document) -> None:
        document["configuration_sets"]["default"]["rate"] = "20/s"

    program.configure(change)
    program.start()
    count = 100
    with ExitStack() as stack:
        clients = [stack.enter_context(program.client()) for _ in range(4)]
        for number in range(count):
            send_on(clients[number % 4], f"<{number}@client.test>")
    wait_until(lambda: len(receiver.messages) == count, 30, "the backlog's end")
    times = sorted(message.at for message in receiver.messages)
    for start in range(count):
        assert sum(1 for at in times[start : start + 40] if at < times[start] + 1.0) <= 22
    assert 4.5 <= times[-1] - times[0] <= 8


def test_a_quota_holds_for_all_workers_together(program: Program, receiver: Receiver) -> None:
    program.configure(
        lambda document: document["credentials"]["app"].update(quota="25/day", on_limit="reject")
    )
    program.start()
    taken = 0
    refused: list[int] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(program.client()) for _ in range(4)]
        for number in range(40):
            try:
                send_on(clients[number % 4], f"<{number}@client.test>")
                taken += 1
            except smtplib.SMTPDataError as refusal:
                refused.append(refusal.smtp_code)
    assert (taken, refused) == (25, [454] * 15)
    wait_until(lambda: len(receiver.messages) == 25, what="delivery")


def test_connections_to_a_destination_are_counted_over_all_workers(
    program: Program, receiver: Receiver
) -> None:
    def change(document) -> None:
        document["delivery"] = {"connections_per_destination": 1}

    program.configure(change)
    receiver.behave = lambda stage, text: Later(0.05) if stage == "final" else None
    program.start()
    most = 0
    with ExitStack() as stack:
        clients = [stack.enter_context(program.client()) for _ in range(4)]
        for number in range(60):
            send_on(clients[number % 4], f"<{number}@client.test>")
            most = max(most, receiver.open_connections)

    def delivered() -> bool:
        nonlocal most
        most = max(most, receiver.open_connections)
        return len(receiver.messages) == 60

    wait_until(delivered, what="delivery from both workers")
    assert most == 1


def test_logins_of_a_credential_are_counted_over_all_workers(
    program: Program, receiver: Receiver
) -> None:
    program.configure(lambda document: document.update(bounds={"connections_per_credential": 3}))
    program.start()
    with (
        program.client(),
        program.client(),
        program.client(),
        pytest.raises(smtplib.SMTPException),
    ):
        program.client()
    with program.client():
        pass


def test_a_known_client_logs_in_at_any_worker_while_strangers_guess(
    program: Program, receiver: Receiver
) -> None:
    def change(document) -> None:
        document["bounds"] = {"block_after": 2, "failed_login_delay": "0s"}

    program.configure(change)
    program.start()
    with program.client():  # one worker finds the password right
        pass
    for last in range(20, 27):  # five times block_after failures of the user name
        client = smtplib.SMTP("127.0.0.1", program.port, source_address=(f"127.0.0.{last}", 0))
        client.starttls()
        with client, pytest.raises(smtplib.SMTPException):
            client.login("app", "a guess")
    with program.client(), program.client():  # one at each worker
        assert connections(program) == [1, 1]


def test_a_client_that_guesses_is_blocked_by_every_worker(
    program: Program, receiver: Receiver
) -> None:
    program.configure(
        lambda document: document.update(bounds={"block_after": 8, "failed_login_delay": "0s"})
    )
    program.start()
    for number in range(4):  # smtplib tries each password by two mechanisms
        client = program.client(login=False)
        with client, pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("app", f"guess {number}")
    for _ in range(4):
        with pytest.raises((smtplib.SMTPException, OSError)):
            program.client(login=False)


def test_all_workers_take_a_reload_up_and_none_a_wrong_one(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(program.client()) for _ in range(4)]
        program.configure(lambda document: document.update(bounds={"recipients": 1}))
        assert program.run("reload").returncode == 0
        for client in clients:
            client.mail("app@sender.test")
            assert client.rcpt("one@dest.test")[0] == 250
            assert client.rcpt("two@dest.test")[0] == 452
            client.rset()
        (program.directory / "tls/key.pem").write_text("no key")
        program.configure(lambda document: document.update(bounds={"recipients": 9}))
        assert program.run("reload", check=False).returncode == 1
        for client in clients:
            client.mail("app@sender.test")
            assert client.rcpt("one@dest.test")[0] == 250
            assert client.rcpt("two@dest.test")[0] == 452
            client.rset()


def test_a_revoked_password_stops_at_every_worker(program: Program, receiver: Receiver) -> None:
    program.start()
    added = program.json("credentials", "add", "app")
    for _ in range(4):
        with program.client(login=False) as client:
            client.login("app", added["password"])
    program.run("credentials", "revoke", "app", "--yes")
    for _ in range(4):
        with program.client(login=False) as client:
            with pytest.raises(smtplib.SMTPAuthenticationError):
                client.login("app", added["password"])
            client.login("app", PASSWORD)


def test_an_operator_finds_mail_whichever_worker_holds_it(
    program: Program, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: "451 not yet" if stage == "rcpt" else None
    program.start()
    with ExitStack() as stack:
        clients = [stack.enter_context(program.client()) for _ in range(4)]
        for number, client in enumerate(clients):
            send_on(client, f"<{number}@client.test>")
    wait_until(
        lambda: all(entry["attempts"] for entry in program.json("queue", "list")),
        what="a first attempt of each",
    )
    receiver.behave = lambda stage, text: None
    program.run("queue", "retry", "--all")
    wait_until(lambda: len(receiver.messages) == 4, what="delivery")
    wait_until(lambda: program.json("queue", "list") == [], what="an empty queue")


def test_a_graceful_end_leaves_no_process_and_no_claim(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    workers = program.workers().values()
    program.send()
    assert program.terminate() == 0
    assert not any(map(is_alive, workers))


def test_a_relay_that_is_stopping_takes_no_reload_up(program: Program, receiver: Receiver) -> None:
    receiver.behave = lambda stage, text: Later(2) if stage == "final" else None
    program.start()
    program.send()
    wait_until(lambda: len(receiver.messages) == 1, what="the final dot")
    assert program.process is not None
    program.process.send_signal(signal.SIGTERM)
    wait_until(lambda: "relay is stopping" in program.log(), what="the drain")
    program.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "configuration re" in program.log(), what="the answer to the reload")
    assert "configuration reloaded" not in program.log()
    with pytest.raises(ConnectionRefusedError):
        program.client()
    assert program.process.wait(30) == 0


def begin(program: Program) -> "subprocess.Popen[bytes]":
    """Start it, in a session of its own, and do not wait until it is ready."""
    with program.log_path.open("ab") as log:
        program.process = subprocess.Popen(
            [*RELAY, "serve", "--config", str(program.config_path)],
            stderr=log,
            start_new_session=True,
        )
    return program.process


def test_an_interrupt_at_the_terminal_during_the_start_is_a_graceful_end(
    program: Program, receiver: Receiver
) -> None:
    process = begin(program)

    def workers_are_apart() -> bool:
        workers = descendants(process.pid)
        return len(workers) == WORKERS and all(os.getpgid(one) == one for one in workers)

    wait_until(workers_are_apart, what="processes of workers, which no terminal signals")
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(30) == 0, program.log()


def test_a_test_message_is_refused_with_the_reason_while_no_worker_can_begin(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    [key] = (program.directory / "dkim").glob("*.pem")
    key.write_text("not a key")
    for process in program.workers().values():
        os.kill(process, signal.SIGKILL)
    wait_until(lambda: program.http("/readyz")[0] == 503, what="the death of all")
    sent = program.run(
        "send", "--from", "app@sender.test", "--to", "to@dest.test", "--credential", "app",
        check=False,
    )  # fmt: skip
    assert sent.returncode == 1
    assert "no worker runs" in sent.stderr


def test_a_signal_ends_a_start_in_which_a_worker_hangs(
    program: Program, receiver: Receiver
) -> None:
    process = begin(program)

    def started() -> list[int]:
        """Workers that run their own program; before that the supervisor waits for them."""
        return [
            worker
            for worker in descendants(process.pid)
            if b"relay.runtime.worker" in Path(f"/proc/{worker}/cmdline").read_bytes()
        ]

    wait_until(lambda: len(started()) == WORKERS, what="the workers' processes")
    hung = started()
    for worker in hung:
        os.kill(worker, signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert not any(map(is_alive, hung))
