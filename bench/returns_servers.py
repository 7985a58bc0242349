"""Have real servers write bounces for the corpus: `python -m bench.returns_servers NAME`.

NAME is `postfix`, `exim` or `opensmtpd`, of Debian's packages postfix, exim4-daemon-light and
opensmtpd. Needs root, and a machine or container of its own for the last two: they have their
queues, and Exim its configuration, in one place only. The server is given mail with a return-path
of the corpus, passes it on to a host that refuses it in one way or another, and returns it to the
same host, which keeps what comes in `tests/mail/corpus/generated`.
"""

import argparse
import shutil
import smtplib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.returns import ADDRESSES, CORPUS
from bench.systems.system import Ports
from tests.e2e.receiver import Receiver

ANN, BOB = "ann@example.org", "bob@example.com"
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Situation:
    """`answers` are replies to the commands that hold a word, `at_end` the one to the message;
    `to` and `told` are as in the labels of the corpus."""

    to: str
    recipients: tuple[str, ...]
    told: tuple[str, ...]
    answers: dict[str, str]
    at_end: str = ""
    only: tuple[str, ...] = ("postfix", "exim", "opensmtpd")


_UNKNOWN = "550 5.1.1 User unknown"
_FULL = "552 5.2.2 Mailbox full"

SITUATIONS = {
    "unknown": Situation("first", (ANN,), (f"Bounce Permanent/NoEmail {ANN}",), {ANN: _UNKNOWN}),
    "full": Situation("second", (BOB,), (f"Bounce Transient/MailboxFull {BOB}",), {BOB: _FULL}),
    "spam": Situation(
        "first",
        (ANN,),
        (f"Bounce Transient/ContentRejected {ANN}",),
        {},
        at_end="554 5.7.1 Message looks like spam",
    ),
    "too-large": Situation(
        "first",
        (ANN,),
        (f"Bounce Transient/MessageTooLarge {ANN}",),
        {},
        at_end="552 5.3.4 Message size exceeds fixed limit",
    ),
    "two": Situation(
        "all",
        (ANN, BOB),
        (f"Bounce Permanent/NoEmail {ANN}", f"Bounce Transient/MailboxFull {BOB}"),
        {ANN: _UNKNOWN, BOB: _FULL},
    ),
    "one-of-two": Situation(
        "all", (ANN, BOB), (f"Bounce Permanent/NoEmail {ANN}",), {ANN: _UNKNOWN}
    ),
    "without-enhanced-code": Situation(
        "first", (ANN,), (f"Bounce Permanent/NoEmail {ANN}",), {ANN: "550 No such user here"}
    ),
    "several-lines": Situation(
        "first",
        (ANN,),
        (f"Bounce Permanent/NoEmail {ANN}",),
        {ANN: "550-5.1.1 The account that you tried to reach\r\n550 5.1.1 does not exist"},
    ),
    "expired": Situation(
        "first",
        (ANN,),
        (f"Bounce Transient/General {ANN}",),
        {ANN: "451 4.7.1 Greylisted, try again later"},
        only=("postfix",),
    ),
}

_POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log/mail.log
maillog_file_prefixes = {dir}
myhostname = mx.postfix.example
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
smtp_host_lookup = native
smtpd_relay_restrictions = permit_mynetworks, reject
mynetworks = 127.0.0.0/8
smtpd_peername_lookup = no
maximal_queue_lifetime = 0
{more}
"""
_POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
_EXIM = """\
primary_hostname = mx.exim.example
daemon_smtp_ports = {port}
local_interfaces = 127.0.0.1
tls_advertise_hosts =
prdr_enable = false
acl_smtp_rcpt = take
begin acl
take:
  accept
begin routers
all:
  driver = manualroute
  transport = on
  route_list = * 127.0.0.1 byname
  self = send
begin transports
on:
  driver = smtp
  port = {sink}
  allow_localhost
  hosts_try_auth =
"""
_OPENSMTPD = """\
listen on 127.0.0.1 port {port} hostname mx.opensmtpd.example
action "on" relay host smtp://127.0.0.1:{sink}
match from any for any action "on"
"""


@contextmanager
def postfix(directory: Path, ports: Ports, more: str = "") -> Iterator[None]:
    """A Postfix with its files below `directory`, which takes mail from loopback and passes all of
    it on to the sink; `more` is further configuration. Needs root."""
    for name in ("etc", "queue", "data", "log"):
        (directory / name).mkdir()
    directory.chmod(0o755)
    main = _POSTFIX_MAIN.format(dir=directory, sink=ports.sink, more=more)
    (directory / "etc/main.cf").write_text(main)
    (directory / "etc/master.cf").write_text(_POSTFIX_MASTER.format(port=ports.submission))
    shutil.chown(directory / "data", "postfix")
    command = ["postfix", "-c", str(directory / "etc")]
    subprocess.run([*command, "start"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run([*command, "stop"], check=False, capture_output=True)


@contextmanager
def _running(*command: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def _exim(_: Path, ports: Ports) -> Iterator[None]:
    Path("/etc/exim4/exim4.conf").write_text(_EXIM.format(port=ports.submission, sink=ports.sink))
    with _running("exim4", "-bdf", "-q10m"):
        yield


@contextmanager
def _opensmtpd(directory: Path, ports: Ports) -> Iterator[None]:
    file = directory / "smtpd.conf"
    file.write_text(_OPENSMTPD.format(port=ports.submission, sink=ports.sink))
    with _running("smtpd", "-d", "-f", str(file)):
        yield


_SERVERS: dict[str, Callable[[Path, Ports], AbstractContextManager[None]]] = {
    "postfix": postfix,
    "exim": _exim,
    "opensmtpd": _opensmtpd,
}


def _send(port: int, situation: Situation) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with smtplib.SMTP("127.0.0.1", port, "relay.example") as client:
                client.sendmail(
                    ADDRESSES[situation.to],
                    situation.recipients,
                    "From: News <news@example.net>\r\nTo: you@example.org\r\n"
                    "Subject: November\r\nMessage-ID: <1@example.net>\r\n\r\nHello\r\n",
                )
            return
        except (ConnectionRefusedError, smtplib.SMTPServerDisconnected):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _behaviour(situation: Situation) -> Callable[[str, str], bytes | None]:
    """Whatever comes to a return-path is taken, what is for others is refused as it says."""
    state = {"is_return": False}

    def behave(stage: str, text: str) -> bytes | None:
        if stage == "mail":
            state["is_return"] = "<>" in text
        if state["is_return"]:
            return None
        if stage == "rcpt":
            for word, answer in situation.answers.items():
                if word in text:
                    return f"{answer}\r\n".encode()
        if stage == "final" and situation.at_end:
            return f"{situation.at_end}\r\n".encode()
        return None

    return behave


def _returned(sink: Receiver) -> bytes:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for message in list(sink.messages):
            if not message.reverse_path:
                return message.content
        time.sleep(0.1)
    raise TimeoutError("nothing came back")


def generate(name: str, situations: Sequence[str] = tuple(SITUATIONS)) -> None:
    """Write the bounces of one server to the corpus."""
    directory = CORPUS / "generated"
    sink = Receiver()
    ports = Ports.free()
    ports = Ports(ports.submission, sink.port, ports.metrics)
    labels = directory / "labels.yaml"
    known = yaml.safe_load(labels.read_text()) if labels.exists() else {}
    with tempfile.TemporaryDirectory() as scratch, _SERVERS[name](Path(scratch), ports):
        for kind in situations:
            situation = SITUATIONS[kind]
            if name not in situation.only:
                continue
            sink.messages.clear()
            sink.behave = _behaviour(situation)
            _send(ports.submission, situation)
            file = directory / f"{name}-{kind}.eml"
            file.write_bytes(_returned(sink).replace(b"\r\n", b"\n"))
            known[file.name] = {
                "to": situation.to,
                "is": "dsn recorded",
                "told": list(situation.told),
            }
            print(file.name)
    sink.close()
    text = yaml.safe_dump(known, sort_keys=True, width=200)
    labels.write_text("# Written by real servers: python -m bench.returns_servers\n" + text)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", choices=sorted(_SERVERS))
    generate(parser.parse_args().server)


if __name__ == "__main__":
    main()
