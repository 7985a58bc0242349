"""Real clients: swaks, curl, smtplib and Postfix set up by the README's recipe."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest

from tests.e2e.program import PASSWORD, Program, letter, wait_until
from tests.e2e.receiver import Received, Receiver


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if shutil.which(name, path="/usr/bin:/usr/sbin") is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def verifies(program: Program, message: Received) -> bool:
    """Whether the signature fits the record that the operator was told to publish."""
    record = program.json("dkim", "show", "sender.test")[0]
    names = {record["name"], record["name"] + "."}

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        return record["value"].encode() if name.decode() in names else None

    return bool(dkim.verify(message.content, dnsfunc=txt))


@needs("swaks")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_swaks_sends_and_the_signature_verifies(
    program: Program, receiver: Receiver, mechanism: str
) -> None:
    program.start()
    result = subprocess.run(
        [
            "swaks", "--server", f"127.0.0.1:{program.port}", "--tls", "--auth", mechanism,
            "--auth-user", "app", "--auth-password", PASSWORD, "--from", "app@sender.test",
            "--to", "to@dest.test", "--header", "Subject: from swaks",
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert verifies(program, receiver.messages[0])


@needs("curl")
def test_curl_sends_and_the_signature_verifies(
    program: Program, receiver: Receiver, tmp_path: Path
) -> None:
    program.start()
    message = tmp_path / "message.eml"
    message.write_bytes(letter(body="From curl.\r\n.\r\n..\r\n"))
    result = subprocess.run(
        [
            "curl", "--silent", "--show-error", "--ssl-reqd",
            "--cacert", str(program.directory / "tls/ca.pem"),
            "--url", f"smtp://localhost:{program.port}", "--user", f"app:{PASSWORD}",
            "--mail-from", "app@sender.test", "--mail-rcpt", "to@dest.test",
            "--upload-file", str(message),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert receiver.messages[0].content.endswith(b"\r\n\r\nFrom curl.\r\n.\r\n..\r\n")
    assert verifies(program, receiver.messages[0])


def test_smtplib_sends_and_the_body_arrives_octet_for_octet(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    body = "Zeilen mit Umlauten: äöü\r\n.führender Punkt\r\n  \r\n\r\nEnde ohne Leerzeile\r\n"
    with program.client() as client:
        client.sendmail(
            "app@sender.test",
            ["to@dest.test"],
            letter("Content-Type: text/plain; charset=utf-8\r\n", body),
            mail_options=["BODY=8BITMIME"],
        )
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert receiver.messages[0].content.partition(b"\r\n\r\n")[2] == body.encode()
    assert verifies(program, receiver.messages[0])


class SmarthostClient:
    """A private Postfix with the README's recipe."""

    def __init__(self, directory: Path, program: Program) -> None:
        self._directory = directory
        for name in ("etc", "queue", "data"):
            (directory / name).mkdir(parents=True)
        directory.chmod(0o755)
        shutil.chown(directory / "data", "postfix")
        authority = directory / "etc/relay-ca.pem"
        authority.write_bytes((program.directory / "tls/ca.pem").read_bytes())
        secrets = directory / "etc/relay_password"
        secrets.write_text(f"[localhost]:{program.port} app:{PASSWORD}\n")
        secrets.chmod(0o600)
        (directory / "etc/main.cf").write_text(
            f"""
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/mail.log
maillog_file_prefixes = {directory}
myhostname = client.test
mydestination =
inet_interfaces = 127.0.0.1
smtp_host_lookup = native
relayhost = [localhost]:{program.port}
smtp_sasl_auth_enable = yes
smtp_sasl_password_maps = hash:{secrets}
smtp_sasl_security_options = noanonymous
smtp_tls_security_level = secure
smtp_tls_CAfile = {authority}
"""
        )
        services = [
            line.split()
            for line in Path("/usr/share/postfix/master.cf.dist").read_text().splitlines()
            if line[:1].isalpha()
        ]
        (directory / "etc/master.cf").write_text(
            "\n".join(
                " ".join([*fields[:4], "n", *fields[5:]])
                for fields in services
                if fields[:2] != ["smtp", "inet"]
            )
            + "\n"
        )
        subprocess.run(["postmap", "-c", str(directory / "etc"), str(secrets)], check=True)
        self._postfix("start")

    def _postfix(self, command: str) -> None:
        subprocess.run(
            ["postfix", "-c", str(self._directory / "etc"), command],
            capture_output=True,
            check=True,
        )

    def send(self, message: bytes) -> None:
        subprocess.run(
            ["sendmail", "-C", str(self._directory / "etc"), "-f", "app@sender.test",
             "to@dest.test"],
            input=message, check=True, timeout=30,
        )  # fmt: skip

    def log(self) -> str:
        return (self._directory / "mail.log").read_text()

    def stop(self) -> None:
        self._postfix("stop")
        time.sleep(0)


@pytest.fixture
def postfix(program: Program) -> Iterator[SmarthostClient]:
    program.start()
    # Not in pytest's directory: only its owner can enter that, and Postfix has a user of its own.
    with tempfile.TemporaryDirectory(prefix="smarthost-client-") as directory:
        client = SmarthostClient(Path(directory), program)
        yield client
        client.stop()


@needs("postfix", "postmap", "sendmail")
@pytest.mark.skipif(
    not Path("/usr/share/postfix/master.cf.dist").exists(), reason="no Postfix of Debian's"
)
def test_postfix_with_the_recipe_sends_and_the_signature_verifies(
    program: Program, receiver: Receiver, postfix: SmarthostClient
) -> None:
    postfix.send(letter())
    wait_until(lambda: len(receiver.messages) == 1, what=f"delivery; {postfix.log()}")
    assert verifies(program, receiver.messages[0])
