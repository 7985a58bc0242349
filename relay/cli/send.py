"""`relay send`: a test message through the running relay, by SMTP as any client sends it.

It logs in with a one-time password that the relay gives on its control socket, or with a password
from a file. The certificate must be the one that the configuration names: nothing else is trusted.
"""

import smtplib
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from relay.admin.client import Client
from relay.admin.control import ListenerStatus, LoginRequest
from relay.admin.endpoints import ONE_TIME_LOGIN, STATUS, Nothing
from relay.cli.credentials import read_password
from relay.cli.explain import address
from relay.cli.failures import FAILED, NOT_RUNNING, OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_json, say, shown, warn
from relay.cli.place import find_config
from relay.config.identities import find_identity
from relay.config.model import Config
from relay.config.names import Endpoint, parse_endpoint
from relay.config.returns import LISTENER as RETURNS

_PATIENCE_S = 30.0


@dataclass(frozen=True, slots=True)
class Login:
    """Who logs in."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.username!r})"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the relay said: the reply to the message, or the refusal and the command it met."""

    accepted: bool
    code: int
    reply: str
    refused_at: str = ""


def send(
    *,
    to: Annotated[
        tuple[str, ...], Parameter(name="--to", help="Recipient. May repeat.", negative="")
    ],
    sender: Annotated[
        str,
        Parameter(name="--from", help="Default: relay-test at the first domain among identities."),
    ] = "",
    subject: Annotated[str, Parameter(help="The subject.")] = "Test message from relay",
    configuration_set: Annotated[str, Parameter(help="Sent as X-SES-CONFIGURATION-SET.")] = "",
    credential: Annotated[str, Parameter(help="Default: the first that may send as --from.")] = "",
    password_file: Annotated[
        Path | None,
        Parameter(
            help="Its password. Default: a one-time password from the running relay.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    listener: Annotated[str, Parameter(help="Connect to this listener.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Send a test message through the running relay and print its reply.

    Accepted means stored: `relay queue list`, the logs and the metrics say what became of it.
    """
    place = find_config(config)
    loaded = place.config()
    client = Client(loaded.data_dir)
    sender = address(sender, "--from") if sender else usual_sender(loaded)
    recipients = [address(recipient, "--to") for recipient in to]
    name = credential or usual_credential(loaded, sender)
    if password_file is not None:
        login = Login(name, read_password(password_file))
        listeners = client.call(STATUS, Nothing()).listeners
    else:
        given = client.call(ONE_TIME_LOGIN, LoginRequest(name))
        login, listeners = Login(given.username, given.password), given.listeners
    message = compose(sender, recipients, subject, configuration_set, datetime.now(UTC))
    chosen = choose_listener(listeners, listener)
    answer = submit(chosen, trusting(loaded.tls.certificate), login, message)
    if as_json:
        print_json(answer)
    elif answer.accepted:
        say(shown(f"{answer.code} {answer.reply}"))
    else:
        warn(shown(f"refused at {answer.refused_at}: {answer.code} {answer.reply}"))
    return OK if answer.accepted else FAILED


def usual_sender(config: Config) -> str:
    """An address that may be sent from."""
    for name in config.identities:
        return name if "@" in name else f"relay-test@{name}"
    raise CommandFailed("the configuration has no identity to send from")


def usual_credential(config: Config, sender: str) -> str:
    """The first credential that is enabled and may send as `sender`."""
    identity = find_identity(config.identities, sender)
    if identity is None:
        raise CommandFailed(
            f"{sender} belongs to no identity of the configuration "
            f"({', '.join(config.identities)}); give another --from"
        )
    for name, credential in config.credentials.items():
        if credential.enabled and (not credential.identities or identity in credential.identities):
            return name
    raise CommandFailed(f"no enabled credential may send as {identity}; give one with --credential")


def choose_listener(listeners: tuple[ListenerStatus, ...], name: str) -> ListenerStatus:
    """The listener of that name; without one the first with STARTTLS, or else the first. The one
    for what comes back takes no mail of clients."""
    listeners = tuple(listener for listener in listeners if listener.name != RETURNS)
    for listener in sorted(listeners, key=lambda each: each.tls != "starttls"):
        if name in ("", listener.name):
            return listener
    if not listeners:
        raise CommandFailed("the relay listens nowhere for clients now", NOT_RUNNING)
    there = ", ".join(listener.name for listener in listeners)
    raise CommandFailed(f"no listener {name} is open; there are: {there}")


def trusting(certificate: Path) -> ssl.SSLContext:
    """TLS that trusts this certificate alone, whatever name it is for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=str(certificate))
    except OSError as error:
        raise CommandFailed(f"cannot use the certificate {certificate}: {error}") from None
    return context


def compose(
    sender: str, recipients: list[str], subject: str, configuration_set: str, now: datetime
) -> EmailMessage:
    """A short plain message."""
    message = EmailMessage()
    try:
        message["From"] = sender
        message["To"] = ", ".join(recipients)
        message["Subject"] = subject
        message["Date"] = format_datetime(now)
        if configuration_set:
            message["X-SES-CONFIGURATION-SET"] = configuration_set
    except ValueError as error:
        raise CommandFailed(f"this cannot stand in a header: {error}") from None
    message.set_content(
        f"This message was sent with `relay send` on {socket.gethostname()} "
        f"at {now:%Y-%m-%d %H:%M:%S} UTC.\n"
    )
    return message


def submit(
    listener: ListenerStatus,
    context: ssl.SSLContext,
    login: Login,
    message: EmailMessage,
) -> Answer:
    """One session, from connecting to the reply to the final dot, by the message's own header."""
    endpoint = parse_endpoint(listener.address)
    host = _reachable(endpoint)
    try:
        with _connected(host, endpoint.port, listener.tls, context) as server:
            server.login(login.username, login.password)
            return _transaction(server, message)
    except smtplib.SMTPResponseException as error:
        return Answer(False, error.smtp_code, _text(error.smtp_error), "login")
    except ssl.SSLError as error:
        raise CommandFailed(
            f"TLS with {host}:{endpoint.port} failed: {error.reason or error}; is the certificate "
            "of the configuration in force? (`relay reload` reads it again)"
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise CommandFailed(f"the session with {host}:{endpoint.port} failed: {error}") from None


def _reachable(endpoint: Endpoint) -> str:
    """An address for a listener that may be bound to all of them."""
    if endpoint.address is None or not endpoint.address.is_unspecified:
        return endpoint.host
    return "127.0.0.1" if endpoint.address.version == 4 else "::1"


def _connected(host: str, port: int, tls: str, context: ssl.SSLContext) -> smtplib.SMTP:
    if tls == "implicit":
        return smtplib.SMTP_SSL(host, port, timeout=_PATIENCE_S, context=context)
    server = smtplib.SMTP(host, port, timeout=_PATIENCE_S)
    try:
        server.starttls(context=context)
    except BaseException:
        server.close()
        raise
    return server


def _transaction(server: smtplib.SMTP, message: EmailMessage) -> Answer:
    sender, recipients = str(message["From"]), str(message["To"]).split(", ")
    international = not all(map(str.isascii, (sender, *recipients)))
    server.ehlo_or_helo_if_needed()
    code, reply = server.mail(sender, ["SMTPUTF8"] if international else [])
    if code != 250:
        return Answer(False, code, _text(reply), "MAIL")
    for recipient in recipients:
        code, reply = server.rcpt(recipient)
        if code != 250:
            return Answer(False, code, _text(reply), f"RCPT {recipient}")
    content = message.as_bytes(policy=SMTPUTF8 if international else SMTP)
    try:
        code, reply = server.data(content)
    except smtplib.SMTPDataError as error:
        return Answer(False, error.smtp_code, _text(error.smtp_error), "DATA")
    return Answer(code == 250, code, _text(reply), "" if code == 250 else "the end of data")


def _text(reply: bytes | str) -> str:
    text = reply.decode("utf-8", "backslashreplace") if isinstance(reply, bytes) else reply
    return " ".join(text.split())
