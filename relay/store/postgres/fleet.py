"""The nodes of a fleet: who lives, who does what only one may do, which configuration they share.

Who is dead is decided as of owners of claims (`claims`): by the clock of the server, and only by a
node that has itself renewed without a gap for the time of that lease. A server that takes over may
have another clock: who has not renewed since is as far from it in one direction as in the other.
What a node that ends had held of limits goes to `cooling`, in the same transaction.
"""

from collections.abc import Callable, Sequence

import msgspec

from relay.store.fleet_values import (
    Membership,
    NewsKind,
    Node,
    NodeReport,
    PublishedConfiguration,
)
from relay.store.interface import NameTaken
from relay.store.postgres import cooling, published, return_paths
from relay.store.postgres.news import News
from relay.store.postgres.news import tell as tell_news
from relay.store.postgres.reader import Reader
from relay.store.postgres.rows import text
from relay.store.postgres.session import Row, Session, rows_of
from relay.store.postgres.writer import Writer

_REMEMBERED = "interval '1 day'"
_MS = "floor(extract(epoch FROM {}) * 1000)::bigint"
_SILENT = "abs(extract(epoch FROM clock_timestamp() - {0}.renewed_at)) * 1000 > {0}.lease"

_FIND = f"SELECT epoch, identity, ended OR {_SILENT.format('node')} FROM node WHERE name = $1"  # noqa: S608 - our own words
_JOIN = (
    "INSERT INTO node (name, epoch, identity, lease, report)"
    " VALUES ($1, nextval('node_epoch'), $2, $3, $4)"
    " ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, identity = excluded.identity,"
    " lease = excluded.lease, joined_at = excluded.joined_at, renewed_at = excluded.renewed_at,"
    " steady_since = excluded.steady_since, ended = false, report = excluded.report"
    # Another one of that name has come first where its epoch is not the one that was found.
    " WHERE node.epoch = $5 RETURNING epoch"
)
_BEAT = (
    "UPDATE node SET renewed_at = clock_timestamp(), report = $2, steady_since ="
    " CASE WHEN extract(epoch FROM clock_timestamp() - renewed_at) * 1000"
    " NOT BETWEEN 0 AND lease / 2 THEN clock_timestamp() ELSE steady_since END"
    " WHERE epoch = $1 AND NOT ended"
)
_DEAD = (
    "SELECT dead.epoch FROM node AS dead, node AS burier WHERE burier.epoch = $1"  # noqa: S608
    f" AND NOT burier.ended AND NOT dead.ended AND {_SILENT.format('dead')}"
    " AND extract(epoch FROM clock_timestamp() - burier.steady_since) * 1000 > dead.lease"
    " ORDER BY dead.epoch FOR UPDATE OF dead SKIP LOCKED"
)
_END = "UPDATE node SET ended = true WHERE epoch = $1 AND NOT ended"
_DROP_DUTIES = "DELETE FROM duty WHERE epoch = $1"
_NODES = (
    f"SELECT name, epoch, {_MS.format('joined_at')}, {_MS.format('renewed_at')}, lease,"  # noqa: S608
    f" NOT (ended OR {_SILENT.format('node')}), report FROM node"
    f" WHERE NOT ended OR renewed_at > clock_timestamp() - {_REMEMBERED} ORDER BY name"
)
_FORGET_OLD = (
    "DELETE FROM node WHERE ended"  # noqa: S608
    f" AND renewed_at < clock_timestamp() - {_REMEMBERED}"
)
_IS_MEMBER = "SELECT epoch FROM node WHERE epoch = $1 AND NOT ended FOR SHARE"
_HOLD = (
    "INSERT INTO duty (name, epoch) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE"
    " SET epoch = excluded.epoch WHERE duty.epoch = excluded.epoch OR NOT EXISTS"
    " (SELECT FROM node WHERE node.epoch = duty.epoch AND NOT node.ended)"
)
_GIVE_UP = "DELETE FROM duty WHERE name = $1 AND epoch = $2"
_HOLDER = (
    "SELECT node.name FROM duty JOIN node ON node.epoch = duty.epoch"  # noqa: S608
    f" WHERE duty.name = $1 AND NOT (node.ended OR {_SILENT.format('node')})"
)

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NodeReport).decode

Joining = tuple[str, str, int, NodeReport]
Beat = tuple[Membership, NodeReport]


class Fleet:
    """Implements `relay.store.interface.FleetStore`."""

    def __init__(self, writer: Writer, questions: Reader, news: News) -> None:
        self._writer = writer
        self._questions = questions
        self._news = news

    async def join(self, name: str, identity: str, lease_ms: int, report: NodeReport) -> Membership:
        """See `FleetStore`."""
        member = await self._writer.submit(_join, (name, identity, lease_ms, report))
        if member is None:
            raise NameTaken(
                f"There is a node {name} already: give this one another name with fleet.node."
                " Where that node is dead it has the name until its lease has run out."
            )
        return member

    async def beat(self, member: Membership, report: NodeReport) -> bool:
        """See `FleetStore`. Buries the dead too."""
        return await self._writer.submit(_beat, (member, report))

    async def leave(self, member: Membership) -> None:
        """See `FleetStore`."""
        await self._writer.submit(_leave, member)

    async def nodes(self) -> list[Node]:
        """See `FleetStore`."""
        return await self._questions.ask(_nodes)

    async def forget(self, name: str) -> bool:
        """See `FleetStore`."""
        return await self._writer.submit(_forget, name)

    async def tell(self, news: NewsKind) -> None:
        """See `FleetStore`."""
        await self._writer.submit(_tell, news)

    def listen(self, told: Callable[[NewsKind], None]) -> None:
        """See `FleetStore`."""
        self._news.listen(told)

    async def publish(
        self, document: str, digest: str, by: str, after: int
    ) -> PublishedConfiguration | None:
        """See `FleetStore`."""
        return await self._writer.submit(published.publish, (document, digest, by, after))

    async def published(self) -> PublishedConfiguration | None:
        """See `FleetStore`."""
        return await self._questions.ask(published.newest)

    async def unpublish(self) -> bool:
        """See `FleetStore`."""
        return await self._writer.submit(published.unpublish, None)

    async def return_path_keys(self, offered: str, instead_of: str = "") -> str:
        """See `FleetStore`."""
        if not offered:
            return await self._questions.ask(return_paths.keys)
        return await self._writer.submit(return_paths.offer, (offered, instead_of))

    async def clock(self) -> int:
        """See `FleetStore`."""
        return await self._questions.ask(_clock)

    async def hold_duty(self, duty: str, member: Membership) -> bool:
        """See `FleetStore`."""
        return await self._writer.submit(_hold_duty, (duty, member))

    async def give_up_duty(self, duty: str, member: Membership) -> None:
        """See `FleetStore`."""
        await self._writer.submit(_give_up_duty, (duty, member))

    async def holder_of(self, duty: str) -> str:
        """See `FleetStore`."""
        return await self._questions.ask(_holder_of, duty)


async def _join(db: Session, requests: Sequence[Joining]) -> list[Membership | None]:
    await db.execute(_FORGET_OLD)
    return [await _join_one(db, *request) for request in requests]


async def _join_one(
    db: Session, name: str, identity: str, lease: int, report: NodeReport
) -> Membership | None:
    """None where a living node of another identity has the name."""
    known = await db.fetchrow(f"{_FIND} FOR UPDATE", name)
    if known is not None:
        if known[1] != identity and not known[2]:
            return None
        await _end(db, known[0])
    before = -1 if known is None else known[0]
    epoch = await db.fetchval(_JOIN, name, identity, lease, _encode(report), before)
    if epoch is None:
        return None
    await tell_news(db, "nodes")
    return Membership(name, epoch, lease)


async def _beat(db: Session, requests: Sequence[Beat]) -> list[bool]:
    answers = []
    for member, report in requests:
        told = await db.execute(_BEAT, member.epoch, _encode(report))
        answers.append(rows_of(told) == 1)
        for (epoch,) in await db.fetch(_DEAD, member.epoch):
            await _end(db, epoch)
    return answers


async def _end(db: Session, epoch: int) -> None:
    """Have a node be none any more, and free what it held. Nothing where it has ended already."""
    if rows_of(await db.execute(_END, epoch)):
        await cooling.cool_all(db, epoch)
        await db.execute(_DROP_DUTIES, epoch)
        await tell_news(db, "nodes")


async def _leave(db: Session, requests: Sequence[Membership]) -> list[None]:
    for member in requests:
        await _end(db, member.epoch)
        await db.execute("DELETE FROM node WHERE epoch = $1", member.epoch)
    return [None] * len(requests)


async def _nodes(db: Session) -> list[Node]:
    return [_node(row) for row in await db.fetch(_NODES)]


def _node(row: Row) -> Node:
    name, epoch, joined_at, seen_at, lease, is_alive, told = row
    try:
        report = _decode(told)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        report = NodeReport("unknown", problem=f"its report cannot be read here: {error}")
    return Node(name, epoch, joined_at, seen_at, lease, is_alive, report)


async def _forget(db: Session, requests: Sequence[str]) -> list[bool]:
    answers = []
    for name in requests:
        known = await db.fetchrow(f"{_FIND} FOR UPDATE", name)
        is_dead = known is not None and bool(known[2])
        if known is not None and is_dead:
            await _end(db, known[0])
            await db.execute("DELETE FROM node WHERE epoch = $1", known[0])
        answers.append(is_dead)
    return answers


async def _tell(db: Session, requests: Sequence[NewsKind]) -> list[None]:
    for news in dict.fromkeys(requests):
        await tell_news(db, news)
    return [None] * len(requests)


async def _clock(db: Session) -> int:
    return int(await db.fetchval(f"SELECT {_MS.format('clock_timestamp()')}"))


async def _hold_duty(db: Session, requests: Sequence[tuple[str, Membership]]) -> list[bool]:
    answers = []
    for duty, member in requests:
        is_member = await db.fetchval(_IS_MEMBER, member.epoch) is not None
        held = is_member and rows_of(await db.execute(_HOLD, text(duty), member.epoch)) == 1
        answers.append(held)
    return answers


async def _give_up_duty(db: Session, requests: Sequence[tuple[str, Membership]]) -> list[None]:
    for duty, member in requests:
        await db.execute(_GIVE_UP, text(duty), member.epoch)
    return [None] * len(requests)


async def _holder_of(db: Session, duty: str) -> str:
    return await db.fetchval(_HOLDER, duty) or ""
