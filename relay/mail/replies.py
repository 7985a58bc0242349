"""SMTP replies: a code, an enhanced status code and a sentence (RFC 5321 §4.2, RFC 3463)."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Reply:
    """One SMTP reply. `enhanced` is `""` where RFC 2034 wants none (greeting, EHLO, 3yz).

    `said_by_peer` is set where another server really gave it. What this relay says in a peer's
    stead (the connection was lost, nobody answered) has the form of a reply and is none: nothing
    is to be learnt from it about the peer.
    """

    code: int
    enhanced: str
    text: str
    said_by_peer: bool = field(default=False, compare=False)

    @property
    def is_positive(self) -> bool:
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        return self.code >= 500

    def __str__(self) -> str:
        if self.enhanced and self.text:
            return f"{self.code} {self.enhanced} {self.text}"
        return " ".join([part for part in (str(self.code), self.enhanced, self.text) if part])
