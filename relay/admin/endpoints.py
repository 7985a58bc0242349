"""The endpoints of the control socket, once for both of its ends.

An `Endpoint` names a path, the value that is sent there and the value that comes back. The server
decodes the one and encodes the other; the client does the reverse. Where no relay runs, the same
table is called without any transport.

Every endpoint is a POST with a JSON object; endpoints that ask nothing take `{}`. The one
exception is `EXPORT`, a GET answered as JSON lines.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from relay.admin.control import (
    BounceRequest,
    Changed,
    Control,
    CredentialRequest,
    CredentialStatus,
    ExplainRequest,
    Explanation,
    Login,
    LoginRequest,
    MessageRequest,
    MoveRequest,
    NewSecret,
    Operations,
    QueueDetail,
    Reloaded,
    Status,
)
from relay.admin.events import (
    DestinationRequest,
    LettersNamed,
    LettersRequest,
    ReplayRequest,
)
from relay.admin.explained import MessageExplanation
from relay.admin.messages import MessageTimeline, TimelineRequest
from relay.admin.nodes import DrainStatus, NodeNamed, PublishedNow, RotatedKeys, ShownNode
from relay.admin.pools import PoolSource, WarmupRequest
from relay.admin.reactions import ClearReactions
from relay.admin.reputation import (
    FreshStartRequest,
    PauseRequest,
    ResumeSendingRequest,
    Standing,
    StandingRequest,
)
from relay.admin.summaries import Summary, SummaryRequest
from relay.admin.suppression import (
    AddressesRequest,
    AddressRequest,
    Bulk,
    BulkEnd,
    BulkRequest,
    ChangesRequest,
    SuppressRequest,
    WhySuppressed,
)
from relay.admin.suspensions import ResumeRequest, SuspendRequest
from relay.admin.tls_values import (
    TlsCountsRequest,
    TlsOutlook,
    TlsReportRequest,
    TlsReportText,
    TlsRequest,
)
from relay.admin.top import Look
from relay.admin.unclassified import UnclassifiedRequest
from relay.events.states import DestinationState, Replayed, ShownLetter, TrialResult
from relay.feedback.restraints import Restraint
from relay.store.fleet_values import PublishedConfiguration
from relay.store.log_values import MessageQuery, SearchResult
from relay.store.pauses import Pause
from relay.store.suppression_values import SuppressionChange, SuppressionCount
from relay.store.tls_values import StoredPolicy, TlsDay
from relay.store.values import (
    QueueEntry,
    QueueFilter,
    SuppressionEntry,
    Suspension,
    UnclassifiedReply,
)

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Nothing:
    """The question of an endpoint that asks nothing."""


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Q, A]):
    """A question about what the store holds: answered with or without a running relay."""

    path: str
    question: type[Q]
    answer: type[A]
    call: Callable[[Operations, Q], Awaitable[A]]


@dataclass(frozen=True, slots=True)
class LiveEndpoint(Generic[Q, A]):
    """A question that only a running relay can answer; some of them by asking its store."""

    path: str
    question: type[Q]
    answer: type[A]
    call: Callable[[Control, Q], Awaitable[A]]
    asks_store: bool = False


QUEUE_LIST = Endpoint(
    "/v1/queue/list", QueueFilter, list[QueueEntry], lambda store, q: store.queue(q)
)
QUEUE_SHOW = Endpoint(
    "/v1/queue/show", MessageRequest, QueueDetail, lambda store, q: store.message(q)
)
QUEUE_RETRY = Endpoint("/v1/queue/retry", QueueFilter, Changed, lambda store, q: store.retry(q))
QUEUE_HOLD = Endpoint("/v1/queue/hold", QueueFilter, Changed, lambda store, q: store.hold(q))
QUEUE_RELEASE = Endpoint(
    "/v1/queue/release", QueueFilter, Changed, lambda store, q: store.release(q)
)
QUEUE_BOUNCE = Endpoint(
    "/v1/queue/bounce", BounceRequest, Changed, lambda store, q: store.bounce(q.which, q.reason)
)
QUEUE_MOVE = Endpoint(
    "/v1/queue/move", MoveRequest, Changed, lambda store, q: store.move(q.which, q.pool)
)

QUEUE_SUMMARY = Endpoint(
    "/v1/queue/summary", SummaryRequest, Summary, lambda store, q: store.summaries.summary(q)
)

SUPPRESSION_ADD = Endpoint(
    "/v1/suppression/add", SuppressRequest, Changed, lambda store, q: store.suppressions.add(q)
)
SUPPRESSION_REMOVE = Endpoint(
    "/v1/suppression/remove",
    AddressesRequest,
    Changed,
    lambda store, q: store.suppressions.remove(q),
)
SUPPRESSION_GET = Endpoint(
    "/v1/suppression/get",
    AddressRequest,
    SuppressionEntry,
    lambda store, q: store.suppressions.find(q),
)
SUPPRESSION_WHY = Endpoint(
    "/v1/suppression/why", AddressRequest, WhySuppressed, lambda store, q: store.suppressions.why(q)
)
SUPPRESSION_COUNT = Endpoint(
    "/v1/suppression/count",
    Nothing,
    list[SuppressionCount],
    lambda store, _: store.suppressions.count(),
)
SUPPRESSION_BEGIN = Endpoint(
    "/v1/suppression/begin", BulkRequest, Bulk, lambda store, q: store.suppressions.begin(q)
)
SUPPRESSION_END = Endpoint(
    "/v1/suppression/end", BulkEnd, Changed, lambda store, q: store.suppressions.end(q)
)
SUPPRESSION_LOG = Endpoint(
    "/v1/suppression/log",
    ChangesRequest,
    list[SuppressionChange],
    lambda store, q: store.suppressions.changes(q),
)

POOLS = Endpoint("/v1/pools", Nothing, list[PoolSource], lambda store, _: store.pools.list())
WARMUP = Endpoint("/v1/warmup", WarmupRequest, PoolSource, lambda store, q: store.pools.change(q))

TLS_POLICIES = Endpoint(
    "/v1/tls/policies", Nothing, list[StoredPolicy], lambda store, _: store.tls.policies()
)
TLS_COUNTS = Endpoint(
    "/v1/tls/counts", TlsCountsRequest, list[TlsDay], lambda store, q: store.tls.counts(q)
)
TLS_REPORT = Endpoint(
    "/v1/tls/report", TlsReportRequest, TlsReportText, lambda store, q: store.tls.report(q)
)

MESSAGES = Endpoint(
    "/v1/messages", MessageQuery, SearchResult, lambda store, q: store.messages.search(q)
)
MESSAGE_TIMELINE = Endpoint(
    "/v1/messages/show",
    TimelineRequest,
    MessageTimeline,
    lambda store, q: store.messages.timeline(q),
)

REPUTATION = Endpoint(
    "/v1/reputation",
    StandingRequest,
    list[Standing],
    lambda store, q: store.reputation.standings(q),
)
REPUTATION_PAUSE = Endpoint(
    "/v1/reputation/pause", PauseRequest, Pause, lambda store, q: store.reputation.pause(q)
)
REPUTATION_RESUME = Endpoint(
    "/v1/reputation/resume",
    ResumeSendingRequest,
    Changed,
    lambda store, q: store.reputation.resume(q),
)
REPUTATION_FRESH_START = Endpoint(
    "/v1/reputation/fresh-start",
    FreshStartRequest,
    Changed,
    lambda store, q: store.reputation.start_afresh(q),
)

SUSPEND = Endpoint(
    "/v1/suspend", SuspendRequest, Suspension, lambda store, q: store.suspensions.suspend(q)
)
RESUME = Endpoint(
    "/v1/resume", ResumeRequest, Changed, lambda store, q: store.suspensions.resume(q)
)
SUSPENSIONS = Endpoint(
    "/v1/suspensions", Nothing, list[Suspension], lambda store, _: store.suspensions.list()
)

UNCLASSIFIED = Endpoint(
    "/v1/unclassified",
    UnclassifiedRequest,
    list[UnclassifiedReply],
    lambda store, q: store.unclassified(q),
)
UNCLASSIFIED_CLEAR = Endpoint(
    "/v1/unclassified/clear", Nothing, Changed, lambda store, _: store.clear_unclassified()
)

CREDENTIALS_LIST = Endpoint(
    "/v1/credentials/list", Nothing, list[CredentialStatus], lambda store, _: store.credentials()
)
CREDENTIALS_ADD = Endpoint(
    "/v1/credentials/add", NewSecret, Changed, lambda store, q: store.add_secret(q)
)
CREDENTIALS_REVOKE = Endpoint(
    "/v1/credentials/revoke",
    CredentialRequest,
    Changed,
    lambda store, q: store.revoke_secrets(q),
)

STATUS = LiveEndpoint("/v1/status", Nothing, Status, lambda relay, _: relay.status())
RELOAD = LiveEndpoint("/v1/reload", Nothing, Reloaded, lambda relay, _: relay.reload())
EXPLAIN = LiveEndpoint(
    "/v1/explain", ExplainRequest, Explanation, lambda relay, q: relay.explain(q), asks_store=True
)
EXPLAIN_MESSAGE = LiveEndpoint(
    "/v1/explain/message",
    MessageRequest,
    MessageExplanation,
    lambda relay, q: relay.explain_message(q),
    asks_store=True,
)
ONE_TIME_LOGIN = LiveEndpoint(
    "/v1/login", LoginRequest, Login, lambda relay, q: relay.one_time_login(q)
)
TLS_SHOW = LiveEndpoint(
    "/v1/tls/show", TlsRequest, TlsOutlook, lambda relay, q: relay.tls(q), asks_store=True
)
REACTIONS_LIST = LiveEndpoint(
    "/v1/reactions/list", Nothing, list[Restraint], lambda relay, _: relay.reactions()
)
REACTIONS_CLEAR = LiveEndpoint(
    "/v1/reactions/clear", ClearReactions, Changed, lambda relay, q: relay.clear_reactions(q)
)

EVENTS = LiveEndpoint(
    "/v1/events",
    Nothing,
    list[DestinationState],
    lambda relay, _: relay.events.states(),
    asks_store=True,
)
EVENTS_TEST = LiveEndpoint(
    "/v1/events/test",
    DestinationRequest,
    list[TrialResult],
    lambda relay, q: relay.events.test(q),
)
EVENTS_DEAD = LiveEndpoint(
    "/v1/events/dead",
    LettersRequest,
    list[ShownLetter],
    lambda relay, q: relay.events.letters(q),
    asks_store=True,
)
EVENTS_FORGET = LiveEndpoint(
    "/v1/events/forget",
    LettersNamed,
    Changed,
    lambda relay, q: relay.events.forget(q),
    asks_store=True,
)
EVENTS_REPLAY_DEAD = LiveEndpoint(
    "/v1/events/replay/dead",
    LettersNamed,
    Replayed,
    lambda relay, q: relay.events.replay_letters(q),
    asks_store=True,
)
EVENTS_REPLAY = LiveEndpoint(
    "/v1/events/replay",
    ReplayRequest,
    Replayed,
    lambda relay, q: relay.events.replay(q),
    asks_store=True,
)

TOP = LiveEndpoint("/v1/top", Nothing, Look, lambda relay, _: relay.look())

NODES = Endpoint("/v1/nodes", Nothing, list[ShownNode], lambda desk, _: desk.nodes.list())
NODES_FORGET = Endpoint(
    "/v1/nodes/forget", NodeNamed, Changed, lambda desk, q: desk.nodes.forget(q)
)
CONFIG_SHOW = Endpoint(
    "/v1/config/show", Nothing, PublishedConfiguration, lambda desk, _: desk.nodes.published()
)
CONFIG_UNPUBLISH = Endpoint(
    "/v1/config/unpublish", Nothing, Changed, lambda desk, _: desk.nodes.unpublish()
)
RETURN_PATHS_ROTATE = Endpoint(
    "/v1/return-paths/rotate",
    Nothing,
    RotatedKeys,
    lambda desk, _: desk.nodes.rotate_return_path_key(),
)
CONFIG_PUBLISH = LiveEndpoint(
    "/v1/config/publish", Nothing, PublishedNow, lambda relay, _: relay.publish(), asks_store=True
)

DRAIN = LiveEndpoint("/v1/drain", Nothing, DrainStatus, lambda relay, _: relay.drain())
DRAIN_OFF = LiveEndpoint("/v1/drain/off", Nothing, DrainStatus, lambda relay, _: relay.end_drain())
DRAIN_SHOW = LiveEndpoint(
    "/v1/drain/show", Nothing, DrainStatus, lambda relay, _: relay.drain_status()
)

EXPORT = "/v1/suppression/export"

STORE_ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    QUEUE_LIST,
    QUEUE_SHOW,
    QUEUE_RETRY,
    QUEUE_HOLD,
    QUEUE_RELEASE,
    QUEUE_BOUNCE,
    QUEUE_MOVE,
    QUEUE_SUMMARY,
    SUPPRESSION_ADD,
    SUPPRESSION_REMOVE,
    SUPPRESSION_GET,
    SUPPRESSION_WHY,
    SUPPRESSION_COUNT,
    SUPPRESSION_BEGIN,
    SUPPRESSION_END,
    SUPPRESSION_LOG,
    TLS_POLICIES,
    TLS_COUNTS,
    TLS_REPORT,
    POOLS,
    WARMUP,
    MESSAGES,
    MESSAGE_TIMELINE,
    REPUTATION,
    REPUTATION_PAUSE,
    REPUTATION_RESUME,
    REPUTATION_FRESH_START,
    SUSPEND,
    RESUME,
    SUSPENSIONS,
    UNCLASSIFIED,
    UNCLASSIFIED_CLEAR,
    CREDENTIALS_LIST,
    CREDENTIALS_ADD,
    CREDENTIALS_REVOKE,
    NODES,
    NODES_FORGET,
    CONFIG_SHOW,
    CONFIG_UNPUBLISH,
    RETURN_PATHS_ROTATE,
)
LIVE_ENDPOINTS: tuple[LiveEndpoint[Any, Any], ...] = (
    STATUS,
    RELOAD,
    CONFIG_PUBLISH,
    EXPLAIN,
    EXPLAIN_MESSAGE,
    ONE_TIME_LOGIN,
    TLS_SHOW,
    REACTIONS_LIST,
    REACTIONS_CLEAR,
    TOP,
    DRAIN,
    DRAIN_OFF,
    DRAIN_SHOW,
    EVENTS,
    EVENTS_TEST,
    EVENTS_DEAD,
    EVENTS_FORGET,
    EVENTS_REPLAY_DEAD,
    EVENTS_REPLAY,
)
