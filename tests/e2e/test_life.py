"""The life of the process: reload, graceful end, restart, and what `init` sets up."""

import os
import signal
import smtplib
import socket
import stat
import threading
from datetime import UTC, datetime, timedelta

import dkim
import pytest
import trustme

from relay.cli.authority import make_certificates
from relay.signing.make import make_private_key, write_private_key
from tests.e2e.program import PASSWORD, Program, letter, wait_until
from tests.e2e.receiver import Receiver


def test_a_bad_reload_keeps_the_old_configuration_and_says_why(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    good = program.config_path.read_text()
    program.config_path.write_text(good.replace("pool: default", "pool: defualt"))
    assert program.process is not None
    program.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: program.metric("relay_config_reloads_total", result="refused") == 1,
        what="the refusal's count",
    )
    program.send(message_id="<after@client.test>")
    wait_until(lambda: receiver.ids() == ["<after@client.test>"], what="delivery")
    assert "defualt" in program.log()
    assert program.metric("relay_config_epoch") == 1
    command = program.run("reload", check=False)
    assert command.returncode == 1
    assert "defualt" in command.stdout + command.stderr
    program.config_path.write_text(good)
    program.run("reload")
    assert program.metric("relay_config_epoch") == 2


def test_the_expiry_that_is_measured_is_that_of_the_certificate_in_force(program: Program) -> None:
    program.start()
    expiry = "relay_certificate_expiry_timestamp_seconds"
    before = program.metric(expiry, certificate="cert.pem")
    tls = program.config_path.parent / "tls"
    made = make_certificates("relay.test", (), datetime.now(UTC) + timedelta(days=9))
    (tls / "cert.pem").write_bytes(made.certificate)
    (tls / "key.pem").write_bytes(made.key)
    program.json("status")  # which asks for everything anew
    assert program.metric(expiry, certificate="cert.pem") == before
    program.run("reload")
    assert program.metric(expiry, certificate="cert.pem") > before


def test_explain_names_the_algorithm_of_each_key(program: Program) -> None:
    program.start()
    (key,) = program.json("explain", "a@sender.test", "b@dest.test")["keys"]
    assert key["algorithm"] == "rsa-sha256"


def test_a_good_reload_takes_effect_without_dropping_open_sessions(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    with program.client() as client:
        program.configure(lambda d: d["configuration_sets"]["default"].update(sending=False))
        program.run("reload")
        with pytest.raises(smtplib.SMTPDataError) as refusal:
            client.sendmail("app@sender.test", ["to@dest.test"], letter())
        assert b"paused" in refusal.value.smtp_error
        program.configure(lambda d: d["configuration_sets"]["default"].update(sending=True))
        program.run("reload")
        client.sendmail("app@sender.test", ["to@dest.test"], letter())
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")


def test_sigterm_under_load_loses_nothing_and_exits_with_0(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    acknowledged: list[str] = []
    stopping = threading.Event()

    def send(lane: int) -> None:
        number = 0
        try:
            with program.client() as client:
                while True:
                    name = f"<{lane}.{number}@client.test>"
                    client.sendmail("app@sender.test", ["to@dest.test"], letter(message_id=name))
                    acknowledged.append(name)
                    number += 1
        except (smtplib.SMTPException, OSError):
            assert stopping.is_set()

    lanes = [threading.Thread(target=send, args=(lane,)) for lane in range(4)]
    for lane in lanes:
        lane.start()
    wait_until(lambda: len(acknowledged) > 100, what="some load")
    stopping.set()
    assert program.terminate() == 0
    for lane in lanes:
        lane.join(30)
    program.start()
    wait_until(lambda: set(acknowledged) <= set(receiver.ids()), what="delivery of the rest")
    assert sorted(receiver.ids()) == sorted(set(receiver.ids())), "a graceful end sends twice"


def test_a_second_start_continues_the_queue(program: Program, receiver: Receiver) -> None:
    receiver.pause()
    program.start()
    for number in range(5):
        program.send(message_id=f"<{number}@client.test>")
    assert program.terminate() == 0
    receiver.resume()
    program.start()
    program.run("queue", "retry", "--all")
    wait_until(lambda: len(receiver.messages) == 5, what="delivery after the restart")


def test_a_second_relay_on_the_same_directory_is_refused(program: Program) -> None:
    program.start()
    second = program.run("serve", check=False)
    assert second.returncode == 1
    assert "Another relay" in second.stderr


def test_files_of_a_new_relay_are_private(program: Program) -> None:
    for folder, folders, files in os.walk(program.directory):
        for name in [*folders, *files]:
            mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
            public = name.endswith((".txt", "ca.pem", "cert.pem"))
            assert public or mode & 0o077 == 0, f"{name} has mode {mode:o}"
    assert PASSWORD not in program.config_path.read_text()


def test_neither_password_nor_body_reaches_the_log(program: Program, receiver: Receiver) -> None:
    program.configure(lambda d: d.setdefault("logging", {}).update(level="debug"))
    program.start()
    program.send(body="a body that nobody may read\r\n")
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    with pytest.raises(smtplib.SMTPAuthenticationError), program.client(login=False) as client:
        client.login("app", "a wrong password")
    assert program.terminate() == 0
    for secret in (PASSWORD, "a wrong password", "nobody may read"):
        assert secret not in program.log()


def test_a_start_that_cannot_have_its_address_says_so_and_takes_no_mail(program: Program) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", program.metrics_port))
        taken.listen()
        result = program.run("serve", check=False)
    assert result.returncode == 1
    assert f"127.0.0.1:{program.metrics_port}" in result.stderr
    assert "Traceback" not in result.stderr
    assert "relay started" not in result.stderr


def test_a_reload_presents_a_new_certificate_and_signs_with_a_new_key(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    program.send(message_id="<before@client.test>")
    authority = trustme.CA()
    leaf = authority.issue_cert("localhost")
    tls = program.directory / "tls"
    authority.cert_pem.write_to_path(str(tls / "ca.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tls / "cert.pem"))
    leaf.private_key_pem.write_to_path(str(tls / "key.pem"))
    [key] = (program.directory / "dkim").glob("*.pem")
    key.unlink()
    write_private_key(key, make_private_key("rsa"))
    program.run("reload")
    program.send(message_id="<after@client.test>")  # trusts the new authority only
    wait_until(lambda: len(receiver.messages) == 2, what="delivery")
    record = program.json("dkim", "show", "sender.test")[0]["value"].encode()
    verdicts = {
        message.header("Message-ID"): dkim.verify(
            message.content, dnsfunc=lambda name, timeout=5: record
        )
        for message in receiver.messages
    }
    assert verdicts == {"<before@client.test>": False, "<after@client.test>": True}
