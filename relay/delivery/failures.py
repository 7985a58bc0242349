"""Connections that did not come about: why, in which phase, as the reply that the sender reads."""

import os
import ssl

from aiosmtplib import SMTPResponseException, SMTPTimeoutError

from relay.delivery.tls_sessions import TlsResult, TlsSession, result_of
from relay.feedback.outcome import Phase
from relay.mail.enhanced import printable_text, split_reply
from relay.mail.replies import Reply
from relay.routing.plan import Host


class ConnectFailure(Exception):
    """No connection to a destination. `result` is the word for metrics, `remote` who replied, `tls`
    what it is in a report on TLS where it is that, and `sessions` what was learnt of TLS with all
    hosts that were tried."""

    def __init__(
        self, phase: Phase, reply: Reply, remote: str, result: str, tls: TlsResult = ""
    ) -> None:
        super().__init__(str(reply))
        self.phase = phase
        self.reply = reply
        self.remote = remote
        self.result = result
        self.tls: TlsResult = tls
        self.sessions: tuple[TlsSession, ...] = ()


class SourceUnavailable(Exception):
    """The source address cannot be bound: a fault of this host, not of any destination."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address}: {reason}")
        self.address = address
        self.reason = reason


def setup_failure(phase: Phase, error: Exception, host: Host, why: str = "") -> ConnectFailure:
    """What aiosmtplib or the TLS library raised in a phase, as a `ConnectFailure`. `why` says on
    whose word TLS had to be as it was not."""
    if isinstance(error, ConnectFailure):
        return error
    remote = str(host)
    tls_error = _tls_error(error)
    if tls_error is not None:
        reason = getattr(tls_error, "verify_message", "") or tls_error.reason or str(tls_error)
        text = f"TLS with {remote} failed: {str(reason).replace('_', ' ').lower()}"
        text += f" ({why})" if why else ""
        reply = Reply(451, "4.7.5", printable_text(text))
        return ConnectFailure("tls", reply, remote, "tls", result_of(tls_error))
    if isinstance(error, SMTPResponseException):
        if 400 <= error.code < 600:
            reply = split_reply(error.code, str(error.message))
            if phase == "auth":
                text = f"{remote} refused the login of this relay: {reply}"
                reply = Reply(454, "4.7.0", printable_text(text))
            return ConnectFailure(phase, reply, remote, "refused", _tls_word(phase))
        text = f"{remote} does not keep to SMTP: {error.message}"
        reply = Reply(451, "4.5.0", printable_text(text))
        return ConnectFailure(phase, reply, remote, "protocol", _tls_word(phase))
    if isinstance(error, (SMTPTimeoutError, TimeoutError)):
        text = f"{remote} did not answer {_WAITING[phase]} in time"
        reply = Reply(451, "4.4.2", text)
        return ConnectFailure(phase, reply, remote, "timeout", _tls_word(phase))
    text = f"the connection to {remote} failed {_WAITING[phase]}: {_reason(error)}"
    result = "tls" if phase == "tls" else "lost"
    reply = Reply(451, "4.4.2", printable_text(text))
    return ConnectFailure(phase, reply, remote, result, _tls_word(phase))


def _tls_word(phase: Phase) -> TlsResult:
    return "validation-failure" if phase == "tls" else ""


_WAITING: dict[str, str] = {
    "greeting": "with its greeting",
    "ehlo": "at EHLO",
    "tls": "at STARTTLS",
    "auth": "at AUTH",
}


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
