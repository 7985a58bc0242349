"""What the supervisor and a worker say to each other (see `relay.runtime.link`).

Plain values. A `Question` names the type of its answer; anything else is told and not answered.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from relay.admin.tls_values import BrokenTls
from relay.delivery.backlog import Backlog
from relay.delivery.whereabouts import Found
from relay.events.states import DestinationState, Replayed, ShownLetter, TrialResult
from relay.feedback.restraints import Complaint, Rest
from relay.frontend.authenticator import Known
from relay.frontend.blocks import Block
from relay.frontend.visit import Visit
from relay.limits.gatekeeper import Level
from relay.limits.leases import Lease, LeaseRequest, Returned
from relay.limits.slots import ReturnSlot, SlotGranted, SlotWanted, WantSlot
from relay.limits.specs import Limit
from relay.observe.merging import Family
from relay.runtime.shared_time import Timekeeping
from relay.store.fleet_values import Elsewhere, HeldDuty
from relay.store.pauses import Pause
from relay.store.values import Line, QueueFilter, Suspension, WarmupProgress

R = TypeVar("R")


class Question(Generic[R]):
    """A message that is answered, with a value of `answer`."""

    __slots__ = ()
    answer: ClassVar[Any]


# --- The supervisor says


@dataclass(frozen=True, slots=True)
class Begin(Question[str]):
    """Start. The answer is an empty string once mail can be taken, else why it cannot.

    `configuration` is the pickled `Config` in force; `clock_offset` is by how many milliseconds the
    queue's clock is behind the wall clock; `login_key` is what workers digest right logins with.
    Where there are several nodes the queue goes by `time`, and a scribe writes for its `duty`.
    """

    answer: ClassVar[Any] = str
    name: str
    workers: int
    configuration: bytes = field(repr=False)
    clock_offset: int = 0
    blocks: tuple[Block, ...] = ()
    login_key: bytes = field(default=b"", repr=False)
    warmups: tuple[WarmupProgress, ...] = ()
    duty: HeldDuty | None = None
    time: Timekeeping | None = None


@dataclass(frozen=True, slots=True)
class TimeIs:
    """The time that nodes of a fleet share was corrected."""

    time: Timekeeping


@dataclass(frozen=True, slots=True)
class Prepare(Question[tuple[str, ...]]):
    """Make ready for a pickled `Config`; the answer names what is wrong with it."""

    answer: ClassVar[Any] = tuple[str, ...]
    configuration: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PutInForce(Question[bool]):
    """Put in force what was prepared."""

    answer: ClassVar[Any] = bool


@dataclass(frozen=True, slots=True)
class Abandon:
    """Forget what was prepared: another process could not."""


@dataclass(frozen=True, slots=True)
class TakeStock(Question[tuple[Family, ...]]):
    """All metrics of the worker."""

    answer: ClassVar[Any] = tuple[Family, ...]


@dataclass(frozen=True, slots=True)
class State:
    """How a worker is doing: what it holds, and how many messages it took in the last minute."""

    working_set: int
    outbound_connections: int
    accepted_per_minute: int = 0


@dataclass(frozen=True, slots=True)
class Report(Question[State]):
    """How are you?"""

    answer: ClassVar[Any] = State


@dataclass(frozen=True, slots=True)
class TellBacklog(Question[Backlog]):
    """What waits in your memory?"""

    answer: ClassVar[Any] = Backlog


@dataclass(frozen=True, slots=True)
class TellProviders(Question[dict[str, str]]):
    """The provider of each domain that you know."""

    answer: ClassVar[Any] = dict[str, str]


@dataclass(frozen=True, slots=True)
class WhichTlsIsBroken(Question[tuple[BrokenTls, ...]]):
    """Hosts of a site whose TLS is known to be broken; of all sites where none is named."""

    answer: ClassVar[Any] = tuple[BrokenTls, ...]
    site: str


@dataclass(frozen=True, slots=True)
class Recall(Question[bool]):
    """Give back what waits in memory and the filter names; answered when the store has it."""

    answer: ClassVar[Any] = bool
    which: QueueFilter


@dataclass(frozen=True, slots=True)
class TellDestinations(Question[list[DestinationState]]):
    """How event destinations are doing."""

    answer: ClassVar[Any] = list[DestinationState]


@dataclass(frozen=True, slots=True)
class TryDestination(Question[list[TrialResult]]):
    """Tell a destination of events that never happened."""

    answer: ClassVar[Any] = list[TrialResult]
    name: str


@dataclass(frozen=True, slots=True)
class TellDeadLetters(Question[list[ShownLetter]]):
    """Dead letters of a destination (all: empty), after that id."""

    answer: ClassVar[Any] = list[ShownLetter]
    name: str
    after: int
    limit: int


@dataclass(frozen=True, slots=True)
class ForgetDeadLetters(Question[int]):
    """Forget these dead letters, or where there are no ids some of all; how many went."""

    answer: ClassVar[Any] = int
    name: str
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplayDeadLetters(Question[Replayed]):
    """Tell these dead letters again, or where there are no ids the next of all."""

    answer: ClassVar[Any] = Replayed
    name: str
    ids: tuple[int, ...] = ()
    after: int = 0


@dataclass(frozen=True, slots=True)
class ReplayEvents(Question[Replayed]):
    """Tell the next events again that happened in a time (UTC ms)."""

    answer: ClassVar[Any] = Replayed
    name: str
    since: int
    until: int
    after: int = 0


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """An operator has changed the queue: look now, also where a destination was down."""


@dataclass(frozen=True, slots=True)
class MailIsDue:
    """Mail that is due at `at` (UTC ms) is free to be claimed."""

    at: int


@dataclass(frozen=True, slots=True)
class WarmupsAre:
    """How far the warm-ups of all source addresses have come: their limits are others now."""

    progress: tuple[WarmupProgress, ...]


@dataclass(frozen=True, slots=True)
class SecretsChanged(Question[bool]):
    """A secret was added or revoked; answered when that counts."""

    answer: ClassVar[Any] = bool


@dataclass(frozen=True, slots=True)
class WhereIs(Question[tuple[Found, ...]]):
    """Where are the deliveries of this message that you have?"""

    answer: ClassVar[Any] = tuple[Found, ...]
    message_id: str


@dataclass(frozen=True, slots=True)
class WhyLinesWait(Question[dict[Line, str]]):
    """For what does mail of these lines wait in the store, as far as you know?"""

    answer: ClassVar[Any] = dict[Line, str]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Suspend(Question[bool]):
    """These orders to wait are in force from now on, and no others; answered when they are."""

    answer: ClassVar[Any] = bool
    suspensions: tuple[Suspension, ...]


@dataclass(frozen=True, slots=True)
class AllowOnce(Question[bool]):
    """A password for one login within `seconds`. False where too many are open."""

    answer: ClassVar[Any] = bool
    credential: str
    password: str = field(repr=False)
    seconds: float


@dataclass(frozen=True, slots=True)
class Blocked:
    """A client or a user name is blocked from now on."""

    block: Block


@dataclass(frozen=True, slots=True)
class Learned:
    """A login was found right; told by the worker that found it, and passed on to the others."""

    known: Known


@dataclass(frozen=True, slots=True)
class LimitChanged:
    """A limit that comes and goes at run time is in force from now on; None: no more."""

    key: str
    limit: Limit | None


@dataclass(frozen=True, slots=True)
class Resting:
    """A source rests for a line, or does no more."""

    rest: Rest


@dataclass(frozen=True, slots=True)
class HowMuchFlows(Question[float]):
    """How much went lately from a source to a line, in recipients per second?"""

    answer: ClassVar[Any] = float
    source: str
    line: str


@dataclass(frozen=True, slots=True)
class Drain(Question[tuple[Family, ...]]):
    """Take no more mail, finish what is in flight within `seconds`, free the rest, and end. The
    answer is what there is in metrics at the end."""

    answer: ClassVar[Any] = tuple[Family, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class PausesAre(Question[bool]):
    """New mail of these streams is refused from now on, and of no others; answered when it is."""

    answer: ClassVar[Any] = bool
    pauses: tuple[Pause, ...]


@dataclass(frozen=True, slots=True)
class ElsewhereIs:
    """This mail is for other nodes to carry from now on, and no other."""

    elsewhere: Elsewhere


# --- The scribe says


@dataclass(frozen=True, slots=True)
class PausesChanged:
    """The store has other pauses."""


# --- A worker says


@dataclass(frozen=True, slots=True)
class Registered:
    """The worker claims mail under this epoch from now on."""

    name: str
    epoch: int


@dataclass(frozen=True, slots=True)
class MayGo(Question[Lease]):
    """May this much mail go?"""

    answer: ClassVar[Any] = Lease
    request: LeaseRequest


@dataclass(frozen=True, slots=True)
class ComesFirst(Question[bool]):
    """Has nobody of that name come to the greylisting mailbox of the simulator before?"""

    answer: ClassVar[Any] = bool
    who: str


@dataclass(frozen=True, slots=True)
class HowFull(Question[list[Level]]):
    """The levels of limits; of all where no keys are named."""

    answer: ClassVar[Any] = list[Level]
    keys: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Permits that were not used."""

    returned: Returned


@dataclass(frozen=True, slots=True)
class Complained:
    """A provider's reply has met a rule that is about how we send."""

    complaint: Complaint


@dataclass(frozen=True, slots=True)
class LogIn(Question[bool]):
    """Count a session of a credential; see `relay.frontend.guard.Guard.log_in`."""

    answer: ClassVar[Any] = bool
    credential: str
    once: str


@dataclass(frozen=True, slots=True)
class LogOut:
    """A session that `LogIn` counted is over."""

    credential: str


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """Somebody gave a wrong password."""

    client: str
    username: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A connection that came through the door is over."""

    visit: Visit


KINDS: tuple[type, ...] = (
    Begin,
    Prepare,
    PutInForce,
    Abandon,
    TakeStock,
    Report,
    WhichTlsIsBroken,
    TellDestinations,
    TryDestination,
    TellDeadLetters,
    ForgetDeadLetters,
    ReplayDeadLetters,
    ReplayEvents,
    TellBacklog,
    WhereIs,
    WhyLinesWait,
    TellProviders,
    Recall,
    QueueChanged,
    MailIsDue,
    WarmupsAre,
    SecretsChanged,
    Suspend,
    AllowOnce,
    Blocked,
    Learned,
    Resting,
    HowMuchFlows,
    Drain,
    Registered,
    MayGo,
    ComesFirst,
    HowFull,
    GiveBack,
    Complained,
    LogIn,
    LogOut,
    LoginFailed,
    Closed,
    WantSlot,
    ReturnSlot,
    SlotGranted,
    SlotWanted,
    LimitChanged,
    PausesAre,
    PausesChanged,
    ElsewhereIs,
    TimeIs,
)
"""Every message, in the order of their numbers on the line."""
