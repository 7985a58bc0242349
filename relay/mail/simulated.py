"""The addresses of the mailbox simulator, and what each of them does.

They are at `simulator.<hostname of the relay>`: those that SES has, and further ones for what else
may happen to mail. The local part says what happens, in any case; a `+label` may follow, to tell
one message from another. Pure.
"""

from dataclasses import dataclass
from typing import Literal

from relay.mail.envelope import domain_of
from relay.mail.replies import Reply

Sequel = Literal["", "auto_reply", "complaint"]
"""What comes back after the mail was taken: nothing, an auto-reply, a report of abuse."""

SLOW_SECONDS = 5.0
_TAKEN = Reply(250, "2.1.5", "Ok")


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a mailbox does. `reply` answers RCPT; `at_first` does when a message comes for the first
    time (None: as later ones). The content is taken after `seconds`. `is_suppressed`: the relay
    acts as if the address were on the suppression list, and nothing is sent."""

    reply: Reply = _TAKEN
    at_first: Reply | None = None
    seconds: float = 0.0
    sequel: Sequel = ""
    is_suppressed: bool = False


MAILBOXES: dict[str, Simulated] = {
    # SES's own.
    "success": Simulated(),
    "bounce": Simulated(Reply(550, "5.1.1", "No such user here")),
    "ooto": Simulated(sequel="auto_reply"),
    "complaint": Simulated(sequel="complaint"),
    "suppressionlist": Simulated(is_suppressed=True),
    # What goes wrong for now.
    "greylist": Simulated(at_first=Reply(451, "4.7.1", "Greylisted, please try again in a moment")),
    "slow": Simulated(seconds=SLOW_SECONDS),
    "tempfail": Simulated(Reply(451, "4.3.0", "The mailbox is not available now")),
    "full": Simulated(Reply(452, "4.2.2", "The mailbox is full")),
    # One for each further kind of bounce that SES tells of.
    "closed": Simulated(Reply(550, "5.2.1", "The mailbox has been closed")),
    "overquota": Simulated(Reply(552, "5.2.2", "The mailbox is full")),
    "toolarge": Simulated(Reply(552, "5.3.4", "The message is too large for this mailbox")),
    "content": Simulated(Reply(554, "5.6.0", "The content of this message is not accepted")),
    "attachment": Simulated(Reply(552, "5.7.0", "This attachment type is not allowed")),
    "blocked": Simulated(Reply(550, "5.7.1", "Mail from your address is blocked")),
    "undetermined": Simulated(Reply(554, "5.0.0", "Transaction failed")),
}
UNKNOWN = Simulated(
    Reply(
        550,
        "5.1.1",
        "No such user here: there are success, bounce, ooto, complaint, suppressionlist,"
        " and those for faults that the manual of the simulator lists",
    )
)
"""Any other mailbox. The names of all are not in the reply: they are words that mean something else
to whoever classifies it."""


def simulator_domain(hostname: str) -> str:
    """The domain of the simulator of the relay that is called `hostname`."""
    return f"simulator.{hostname.lower()}"


def is_simulator_address(address: str, hostname: str) -> bool:
    """Whether `address` is one of the simulator of the relay that is called `hostname`."""
    return domain_of(address).lower() == simulator_domain(hostname)


def simulated(address: str) -> Simulated:
    """What the mailbox of an address of the simulator does; only the local part is looked at."""
    return MAILBOXES.get(mailbox_of(address), UNKNOWN)


def mailbox_of(address: str) -> str:
    """The name of a mailbox, without its label."""
    return address.rpartition("@")[0].partition("+")[0].lower()
