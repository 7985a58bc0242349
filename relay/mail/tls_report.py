"""Reports on TLS to other domains (TLSRPT, RFC 8460): the record, the JSON, the mail around it.

Pure: facts in, octets out. A report tells a domain how many sessions with its mail hosts went well
on one day in UTC, and how the others failed. It never holds a word of a peer's, nor an address of
mail.
"""

import gzip
import json
import re
from base64 import encodebytes
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from relay.mail.address import AddressError, parse_mailbox
from relay.mail.dates import format_date
from relay.mail.headers import header_field

MOST_DETAILS = 1_000
MOST_PLACES = 5

_RECORD = re.compile(r"v=TLSRPTv1[ \t]*(;|$)")
_MAILTO = re.compile(r"mailto:([!-~]{1,254})", re.IGNORECASE)
_HTTPS = re.compile(r"https://[!-~]{1,1000}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Failures:
    """Sessions that failed in one way: `result` as in RFC 8460 §4.3, `code` a short reason."""

    result: str
    sessions: int
    source: str = ""
    host: str = ""
    address: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """How it went under one policy of a domain. `strings` is the policy line by line."""

    kind: str
    domain: str
    strings: tuple[str, ...]
    successes: int
    failures: tuple[Failures, ...]


@dataclass(frozen=True, slots=True)
class TlsReport:
    """A report to `domain` on `day` (days since the epoch, UTC). `submitter` is our own name,
    `organization` and `contact` are for people."""

    domain: str
    day: int
    submitter: str
    organization: str
    contact: str
    policies: tuple[PolicyReport, ...]

    @property
    def id(self) -> str:
        """The same however often it is made, so that a receiver knows one that comes twice."""
        return f"{self._begin:%Y%m%d}.{self.domain}@{self.submitter}"

    @property
    def file_name(self) -> str:
        """RFC 8460 §5.1."""
        first = round(self._begin.timestamp())
        return f"{self.submitter}!{self.domain}!{first}!{first + 86_399}.json.gz"

    @property
    def _begin(self) -> datetime:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=self.day)

    def as_json(self) -> bytes:
        """RFC 8460 §4.4."""
        end = self._begin + timedelta(days=1, seconds=-1)
        return json.dumps(
            {
                "organization-name": self.organization,
                "date-range": {
                    "start-datetime": f"{self._begin:%Y-%m-%dT%H:%M:%SZ}",
                    "end-datetime": f"{end:%Y-%m-%dT%H:%M:%SZ}",
                },
                "contact-info": self.contact,
                "report-id": self.id,
                "policies": [_policy(policy) for policy in self.policies],
            },
            ensure_ascii=False,
            indent=1,
        ).encode()

    def as_gzip(self) -> bytes:
        """The JSON as it is sent; the same octets each time."""
        return gzip.compress(self.as_json(), mtime=0)


def _policy(report: PolicyReport) -> dict[str, object]:
    policy: dict[str, object] = {"policy-type": report.kind}
    if report.strings:
        policy["policy-string"] = list(report.strings)
    policy["policy-domain"] = report.domain
    hosts = [text.removeprefix("mx: ") for text in report.strings if text.startswith("mx: ")]
    if report.kind == "sts" and hosts:
        policy["mx-host"] = hosts
    found: dict[str, object] = {
        "policy": policy,
        "summary": {
            "total-successful-session-count": report.successes,
            "total-failure-session-count": sum(each.sessions for each in report.failures),
        },
    }
    if report.failures:
        most = sorted(report.failures, key=lambda each: -each.sessions)[:MOST_DETAILS]
        found["failure-details"] = [_failures(each) for each in most]
    return found


def _failures(failures: Failures) -> dict[str, object]:
    """What is not known is left out."""
    words = (
        ("result-type", failures.result),
        ("sending-mta-ip", failures.source),
        ("receiving-mx-hostname", failures.host),
        ("receiving-ip", failures.address),
        ("failed-session-count", failures.sessions),
        ("failure-reason-code", failures.code),
    )
    return {name: value for name, value in words if value != ""}


def report_places(texts: Sequence[str]) -> tuple[str, ...]:
    """Where a domain wants reports, from the TXT records of `_smtp._tls.DOMAIN` (RFC 8460 §3):
    `mailto:` and `https:` URIs, at most five. None where no one record can be read."""
    records = [text for text in texts if _RECORD.match(text)]
    if len(records) != 1:
        return ()
    for field in records[0].split(";")[1:]:
        name, equals, value = field.partition("=")
        if equals and name.strip() == "rua":
            uris = [uri.strip() for uri in value.split(",")]
            usable = [uri for uri in uris if mail_address(uri) or _HTTPS.fullmatch(uri)]
            return tuple(dict.fromkeys(usable))[:MOST_PLACES]
    return ()


def mail_address(uri: str) -> str:
    """The address of a `mailto:` URI (RFC 6068), normalised; `""` for any other."""
    match = _MAILTO.fullmatch(uri)
    try:
        return parse_mailbox(unquote(match[1].partition("?")[0])) if match else ""
    except AddressError:
        return ""


def compose_mail(report: TlsReport, sender: str, to: str, now: int) -> tuple[bytes, bytes]:
    """The header block (without its empty line) and the body of a mail with the report, lines ended
    by CRLF (RFC 8460 §5.3). `now` is in UTC milliseconds."""
    subject = f"Report Domain: {report.domain} Submitter: {report.submitter}"
    boundary = f"=_tlsrpt_{report.day}_{now}"
    fields = [
        header_field("From", f"<{sender}>"),
        header_field("To", f"<{to}>"),
        header_field("Subject", f"{subject} Report-ID: <{report.id}>"),
        header_field("Date", format_date(now)),
        header_field("Message-ID", f"<{report.id}>"),
        header_field("TLS-Report-Domain", report.domain),
        header_field("TLS-Report-Submitter", report.submitter),
        # Mail about broken TLS must not be stopped by it (RFC 8460 §3, RFC 8689 §4.2.1).
        header_field("TLS-Required", "No"),
        header_field("Auto-Submitted", "auto-generated"),
        header_field("MIME-Version", "1.0"),
        b'Content-Type: multipart/report; report-type="tlsrpt";\r\n'
        b' boundary="%b"\r\n' % boundary.encode(),
    ]
    return b"".join(fields), _body(report, boundary)


def _body(report: TlsReport, boundary: str) -> bytes:
    failed = sum(each.sessions for policy in report.policies for each in policy.failures)
    good = sum(policy.successes for policy in report.policies)
    text = (
        f"This is an aggregate TLS report from {report.submitter} for {report.domain},\r\n"
        f"on {report._begin:%Y-%m-%d} (UTC): {good} sessions went well, {failed} did not.\r\n"
    )
    encoded = encodebytes(report.as_gzip()).replace(b"\n", b"\r\n")
    head = (
        f"--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n{text}\r\n"
        f"--{boundary}\r\nContent-Type: application/tlsrpt+gzip\r\n"
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment;\r\n filename="{report.file_name}"\r\n\r\n'
    )
    return head.encode() + encoded + f"--{boundary}--\r\n".encode()
