"""The HAProxy that is shipped for a fleet, in front of a real relay."""

import re
import shutil
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import PASSWORD, Program, free_port, letter, wait_until
from tests.e2e.receiver import Receiver

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/bin")
SHIPPED = Path(__file__).parents[2] / "deploy/fleet/haproxy.cfg"


class Balancer:
    """HAProxy with the configuration of the fleet, for one relay on loopback."""

    def __init__(self, program: Program, directory: Path) -> None:
        self.port = free_port()
        text = SHIPPED.read_text()
        text = re.sub(r"\n  server relay-2 .*", "", text)
        text = re.sub(r"relay-1:\d+", f"127.0.0.1:{program.port}", text)
        text = text.replace("maxconn 20000", "maxconn 100")  # the descriptors of a test are few
        text = text.replace("check port 2580", f"check port {program.metrics_port}")
        text = text.replace("bind :2587", f"bind 127.0.0.1:{self.port}")
        text = text.replace("bind :2465", f"bind 127.0.0.1:{free_port()}")
        text = text.replace("bind :8405", f"bind 127.0.0.1:{free_port()}")
        (directory / "haproxy.cfg").write_text(text)
        assert HAPROXY is not None
        self._process = subprocess.Popen(
            [HAPROXY, "-db", "-f", directory / "haproxy.cfg"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def answers(self) -> bool:
        """Whether a relay is behind it that greets."""
        try:
            with smtplib.SMTP("127.0.0.1", self.port, timeout=5):
                return True
        except (OSError, smtplib.SMTPException):
            return False

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def balancer(program: Program, tmp_path: Path) -> Iterator[Balancer]:
    def believe(document) -> None:  # type: ignore[no-untyped-def]  # plain YAML
        for listener in document["listeners"].values():
            listener["proxy_protocol"] = ["127.0.0.1/32"]

    program.configure(believe)
    balancer = Balancer(program, tmp_path)
    yield balancer
    balancer.close()


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_the_relay_knows_the_client_behind_the_balancer(
    program: Program, balancer: Balancer, receiver: Receiver
) -> None:
    program.start()
    wait_until(balancer.answers, what="a relay behind the balancer")
    context = ssl.create_default_context(cafile=str(program.directory / "tls/ca.pem"))
    source = ("127.0.0.77", 0)
    with smtplib.SMTP("localhost", balancer.port, timeout=30, source_address=source) as client:
        client.starttls(context=context)
        client.login("app", PASSWORD)
        client.sendmail("app@sender.test", ["to@dest.test"], letter())
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    assert "[127.0.0.77]" in receiver.messages[0].header("Received")


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
def test_nobody_but_the_balancer_is_believed(program: Program, balancer: Balancer) -> None:
    program.start()
    wait_until(balancer.answers, what="a relay behind the balancer")
    client = smtplib.SMTP(timeout=30, source_address=("127.0.0.78", 0))
    with pytest.raises(smtplib.SMTPServerDisconnected):
        client.connect("127.0.0.1", program.port)
