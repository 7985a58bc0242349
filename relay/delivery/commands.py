"""The commands of a transaction, for a message and what the peer offers. Pure.

A parameter is sent only where the peer offers its extension. What a peer cannot take whole is
refused here with the reply that the sender will read: 8-bit content without 8BITMIME (RFC 6152),
addresses or headers in UTF-8 without SMTPUTF8 (RFC 6531), more octets than SIZE (RFC 1870).
Nothing is converted: a signature covers what is sent.
"""

from dataclasses import dataclass, replace

from relay.delivery.peer import Peer
from relay.mail.envelope import Envelope, Recipient
from relay.mail.replies import Reply
from relay.store.values import Message


@dataclass(frozen=True, slots=True)
class Mail:
    """What one transaction sends: an envelope, and facts about the content as it goes out.

    `size` counts the octets of the content before dot-stuffing, signature fields included.
    """

    envelope: Envelope
    size: int
    eight_bit: bool
    utf8_header: bool

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the peer must know SMTPUTF8: the client said so, and it is used indeed."""
        return self.envelope.smtputf8 and self.utf8_header


def mail_of(message: Message, signature: bytes, reverse_path: str | None = None) -> Mail:
    """The facts of a message that goes out under `signature` fields, and under another
    `reverse_path` than the client's where one is given."""
    envelope = message.envelope
    if reverse_path is not None and reverse_path != envelope.reverse_path:
        envelope = replace(envelope, reverse_path=reverse_path)
    utf8_header = not message.header.isascii()
    return Mail(
        envelope=envelope,
        size=len(signature) + message.size,
        eight_bit=message.body.eight_bit or utf8_header,
        utf8_header=utf8_header,
    )


def unfit(peer: Peer, mail: Mail, recipients: tuple[Recipient, ...]) -> Reply | None:
    """Why `peer` cannot take the message as it is; None where it can."""
    if 0 < peer.size < mail.size:
        text = f"the message has {mail.size:,} octets, and {peer.name} takes at most {peer.size:,}"
        return Reply(552, "5.3.4", text)
    if not peer.smtputf8:
        if mail.needs_smtputf8:
            return _no_smtputf8(peer, "its header fields are in UTF-8")
        if not mail.envelope.reverse_path.isascii():
            return _no_smtputf8(peer, "its reverse-path is in UTF-8")
        if _has_utf8("", recipients):
            return _no_smtputf8(peer, "a recipient's address is in UTF-8")
    if mail.eight_bit and not peer.eight_bit:
        text = f"the message has 8-bit content, and {peer.name} takes 7-bit only (no 8BITMIME)"
        return Reply(554, "5.6.3", text)
    return None


def _no_smtputf8(peer: Peer, why: str) -> Reply:
    return Reply(553, "5.6.7", f"{peer.name} does not take such mail (no SMTPUTF8): {why}")


def mail_command(peer: Peer, mail: Mail, recipients: tuple[Recipient, ...]) -> bytes:
    """`MAIL FROM:<…>` with the parameters that the peer offers, ended by CRLF."""
    envelope = mail.envelope
    line = f"MAIL FROM:<{envelope.reverse_path}>"
    if peer.offers_size:
        line += f" SIZE={mail.size}"
    if mail.eight_bit and peer.eight_bit:
        line += " BODY=8BITMIME"
    if peer.smtputf8 and (mail.needs_smtputf8 or _has_utf8(envelope.reverse_path, recipients)):
        line += " SMTPUTF8"
    if peer.dsn:
        if envelope.ret:
            line += f" RET={envelope.ret}"
        if envelope.envid:
            line += f" ENVID={envelope.envid}"
    return _line(line)


def rcpt_command(peer: Peer, recipient: Recipient) -> bytes:
    """`RCPT TO:<…>` with the parameters that the peer offers, ended by CRLF."""
    line = f"RCPT TO:<{recipient.address}>"
    if peer.dsn:
        if recipient.notify:
            line += f" NOTIFY={','.join(recipient.notify)}"
        if recipient.orcpt:
            line += f" ORCPT={recipient.orcpt}"
    return _line(line)


def _has_utf8(reverse_path: str, recipients: tuple[Recipient, ...]) -> bool:
    # A join, because a loop of Python's takes longer even for one recipient.
    return not (reverse_path + "".join([r.address for r in recipients])).isascii()


class UnsafeCommand(ValueError):
    """An address or parameter holds a control character: it would be another command."""


def _line(line: str) -> bytes:
    # Admission has checked this once. The last station before the wire checks it again.
    if not line.isprintable():
        raise UnsafeCommand(f"a control character in {line[:100]!r}")
    return line.encode() + b"\r\n"
