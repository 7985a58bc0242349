"""Every reply that a session gives: code, enhanced status code, sentence, and its metric label.

The texts are those of Amazon SES where it has one, with an enhanced status code (RFC 2034) before
them. Each `Answer` is turned into octets once. Nothing a client sent gets into a reply unless it is
printable ASCII, so no reply can be split or forged by its echo; no line exceeds 512 octets.
"""

import re
import textwrap
from dataclasses import dataclass, field

from relay.frontend.visit import Visit
from relay.mail.replies import Reply

_LINE = 500  # of the 512 octets that RFC 5321 §4.5.3.1.5 allows, without code and CRLF
_UNPRINTABLE = re.compile(r"[^ -~\n]")
_ECHO = 200


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, what to count it as (`reason`, empty for a positive one), and its octets.

    `closes` means that the connection is closed after it; `is_error` that it answers something a
    right client does not send, and so counts towards the number of errors a session may make;
    `is_early` that the client is still sending what the reply refuses.
    """

    reply: Reply
    reason: str = ""
    closes: bool = False
    is_error: bool = False
    is_early: bool = False
    octets: bytes = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "octets", encode(self.reply))


def encode(reply: Reply) -> bytes:
    """The octets of a reply; its text may have several lines, and long lines are wrapped."""
    text = _UNPRINTABLE.sub("?", reply.text)
    lines = [
        part for line in text.split("\n") for part in (textwrap.wrap(line, _LINE - 12) or [""])
    ]
    status = f"{reply.enhanced} " if reply.enhanced else ""
    last = len(lines) - 1
    return "".join(
        f"{reply.code}{' ' if number == last else '-'}{status}{line}\r\n"
        for number, line in enumerate(lines)
    ).encode("ascii")


def echo(text: str) -> str:
    """What a client sent, made fit for a reply or a log line: printable ASCII and short."""
    shown = _UNPRINTABLE.sub("?", text.replace("\n", "?"))
    return shown if len(shown) <= _ECHO else shown[:_ECHO] + "..."


def _ok(code: int, enhanced: str, text: str) -> Answer:
    return Answer(Reply(code, enhanced, text))


def refuse(code: int, enhanced: str, text: str, reason: str, *, closes: bool = False) -> Answer:
    """A refusal that is counted under `reason`, one of a fixed set of words."""
    return Answer(Reply(code, enhanced, text), reason, closes)


def error(code: int, enhanced: str, text: str, reason: str, *, closes: bool = False) -> Answer:
    """A refusal of what no right client sends: wrong syntax or wrong order."""
    return Answer(Reply(code, enhanced, text), reason, closes, is_error=True)


# --- all is well
SENDER_OK = _ok(250, "2.1.0", "Ok")
RECIPIENT_OK = _ok(250, "2.1.5", "Ok")
OK = _ok(250, "2.0.0", "Ok")
BYE = Answer(Reply(221, "2.0.0", "Bye"), closes=True)
SEND_DATA = _ok(354, "", "End data with <CR><LF>.<CR><LF>")
START_TLS = _ok(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = _ok(235, "2.7.0", "Authentication successful.")
NOT_VERIFIED = _ok(252, "2.1.5", "Cannot VRFY user, but will accept message and attempt delivery")
HELP = _ok(214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP QUIT; see RFC 5321")

# --- the order of things
GREET_FIRST = error(503, "5.5.1", "Send EHLO first", "order")
STARTTLS_FIRST = refuse(530, "5.7.0", "Must issue a STARTTLS command first", "tls required")
LOGIN_FIRST = refuse(530, "5.7.0", "Authentication required", "login required")
NESTED_MAIL = error(503, "5.5.1", "A message is already begun; finish it or send RSET", "order")
MAIL_FIRST = error(503, "5.5.1", "Send MAIL FROM first", "order")
RECIPIENT_FIRST = error(503, "5.5.1", "Send RCPT TO first", "order")
NO_RECIPIENTS = error(554, "5.5.1", "No valid recipients", "no recipients")
ALREADY_TLS = error(503, "5.5.1", "TLS is already in use", "order")
ALREADY_LOGGED_IN = error(503, "5.5.1", "Already authenticated", "order")

# --- lines that are not commands
BARE_LINE_END = error(500, "5.5.2", "Bare CR or LF; end each line with CR LF", "bare line end")
LINE_TOO_LONG = error(500, "5.5.2", "Command line is too long", "line too long")
CONTROL_CHARACTER = error(500, "5.5.2", "Command has control characters", "syntax")
NOT_UTF8 = error(500, "5.5.2", "Command is neither ASCII nor UTF-8", "syntax")
UNKNOWN_COMMAND = error(500, "5.5.2", "Command not recognized", "unknown command")
NO_CHUNKING = error(
    503, "5.5.1", "BDAT was not offered; closing connection", "unknown command", closes=True
)
NO_PARAMETERS = error(501, "5.5.4", "This command takes no parameters", "syntax")
HELO_SYNTAX = error(501, "5.5.4", "Syntax: EHLO hostname or [address]", "syntax")
MAIL_SYNTAX = error(501, "5.5.4", "Syntax: MAIL FROM:<address> [parameters]", "syntax")
RCPT_SYNTAX = error(501, "5.5.4", "Syntax: RCPT TO:<address> [parameters]", "syntax")
TOO_MANY_ERRORS = refuse(
    421, "4.7.0", "Too many errors; closing connection", "too many errors", closes=True
)
TOO_MANY_COMMANDS = refuse(
    421,
    "4.7.0",
    "Too many commands without a message; closing connection",
    "too many commands",
    closes=True,
)

# --- AUTH
AUTH_SYNTAX = error(501, "5.5.4", "Syntax: AUTH PLAIN or AUTH LOGIN", "syntax")
AUTH_MECHANISM = error(504, "5.5.4", "Unrecognized authentication type", "auth mechanism")
AUTH_BASE64 = error(501, "5.5.2", "Cannot decode base64", "syntax")
AUTH_PLAIN_FORM = error(501, "5.5.2", "Not a PLAIN message (RFC 4616)", "syntax")
AUTH_CANCELLED = refuse(501, "5.7.0", "Authentication cancelled", "auth cancelled")
AUTH_TOO_LONG = error(500, "5.5.6", "Authentication exchange line is too long", "line too long")
AUTH_INVALID = refuse(535, "5.7.8", "Authentication Credentials Invalid", "login failed")
AUTH_UNAVAILABLE = refuse(454, "4.7.0", "Temporary authentication failure", "login unavailable")
TOO_MANY_FAILURES = refuse(
    421, "4.7.0", "Too many failed logins; closing connection", "login failed", closes=True
)

# --- load
TOO_MANY_CONNECTIONS = refuse(
    421, "4.7.0", "Too many concurrent SMTP connections", "connections", closes=True
)
TOO_MANY_MESSAGES = refuse(
    421,
    "4.7.0",
    "Connection closed by server. Maximum message count per session reached.",
    "messages per session",
    closes=True,
)
SHUTTING_DOWN = refuse(
    421, "4.3.2", "Service is shutting down; try again later", "shutting down", closes=True
)
TIMED_OUT = refuse(451, "4.4.2", "Timeout waiting for data from client.", "timeout", closes=True)
IN_FLIGHT = refuse(452, "4.3.1", "Too much mail in flight; try again later", "bytes in flight")
DISK_LOW = refuse(452, "4.3.1", "Insufficient system storage; try again later", "disk low")
STORE_FULL = refuse(452, "4.3.1", "Insufficient system storage; try again later", "store full")
STORE_FAILED = refuse(451, "4.3.0", "Temporary service failure; try again later", "store failed")

# --- the listener for what comes back
NO_LOGIN_HERE = error(502, "5.5.1", "Nobody logs in here", "order")
NO_RELAYING = error(
    550, "5.7.1", "Relaying denied: this host takes reports about its own mail alone", "relaying"
)
NO_SUCH_MAILBOX = error(
    550, "5.1.1", "No such mailbox: this domain takes reports about its own mail alone", "mailbox"
)
REPORT_TAKEN = _ok(250, "2.6.0", "Ok")
NOT_A_REPORT = refuse(
    550,
    "5.7.1",
    "Message refused: it is no delivery report and no complaint, and nobody reads mail here",
    "not a report",
)

# --- what a message may be
NUL_IN_MESSAGE = refuse(554, "5.6.0", "Message refused: it has a NUL character", "nul")


def unwelcome(visit: Visit) -> Answer | None:
    """What a connection hears instead of the greeting, or None where it is welcome."""
    match visit.verdict:
        case "":
            return None
        case "access denied":
            return access_denied(visit.client)
        case "blocked":
            return blocked(visit.blocked_for)
        case "connections" | "client connections":
            return TOO_MANY_CONNECTIONS


def access_denied(client: str) -> Answer:
    return refuse(
        554, "5.7.1", f"Access denied: {client} is not an allowed network", "network", closes=True
    )


def blocked(seconds: float) -> Answer:
    return refuse(
        421,
        "4.7.0",
        f"Too many failed logins; try again in {max(1, round(seconds))} seconds",
        "blocked",
        closes=True,
    )


def no_return_path(problem: str) -> Answer:
    """`problem` is why, from `it` on."""
    text = f"No such mailbox: this is no return-path of this host's, {problem}"
    return error(550, "5.7.1", text, "return-path")


def write_to(address: str) -> Answer:
    """People are told where somebody reads their mail (RFC 5321 §3.4)."""
    if not address:
        return NO_SUCH_MAILBOX
    text = f"Nobody reads mail here; please write to <{echo(address)}>"
    return refuse(551, "5.1.6", text, "mailbox")


def too_long(limit: int) -> Answer:
    return refuse(
        552, "5.3.4", f"Message is too long. The limit is {limit} octets.", "message size"
    )


def header_too_long(limit: int) -> Answer:
    return refuse(
        552, "5.3.4", f"Message header is too long. The limit is {limit} octets.", "header size"
    )


def bad_header(sentence: str) -> Answer:
    return refuse(554, "5.6.0", f"Message refused: {echo(sentence)}", "bad header")


def bare_line_end(sentence: str) -> Answer:
    return refuse(
        554,
        "5.6.11",
        f"Message refused: {echo(sentence)} Closing connection.",
        "bare line end",
        closes=True,
    )


def too_many_recipients(limit: int) -> Answer:
    return refuse(
        452,
        "4.5.3",
        f"Too many recipients; the limit is {limit} for one message",
        "recipients",
    )


def accepted(message_id: str) -> bytes:
    """The final reply. Exactly as SES gives it, without an enhanced status code."""
    return b"250 Ok %b\r\n" % message_id.encode("ascii")


def failed(reference: str) -> Answer:
    """An error of ours: nothing of it is told but the reference under which it is in the log."""
    return refuse(
        451,
        "4.3.0",
        f"Temporary service failure; reference {reference}. Closing connection.",
        "internal error",
        closes=True,
    )
