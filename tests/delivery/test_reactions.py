"""What providers say, and what the relay does then: played against a scripted receiver."""

import asyncio
import time
from math import inf
from pathlib import Path

import pytest

from relay.feedback.restraints import Complaint, Rest
from relay.limits.specs import Limit, temper_key
from relay.runtime.restraining import Restraining
from tests.delivery.outgoing import Outgoing, make_config, now_ms
from tests.delivery.receiver import Do, Happening, Receiver, Scripted, Session

TWO = {
    "main": {"sources": [{"address": "127.0.0.2"}, {"address": "127.0.0.4"}]},
    "other": {"sources": [{"address": "127.0.0.3"}]},
}
BLOCKED = (
    b"550 5.7.1 Unfortunately, messages from [127.0.0.2] weren't sent. Please contact your Internet"
    b" service provider since part of their network is on our block list (S3140).\r\n"
)


def refusing(client: str, said: bytes, usual: bytes = b"250 ok\r\n") -> Scripted:
    """One source is refused, the others are welcome."""

    def answer(session: Session, line: str) -> bytes:
        return said if session.client == client else usual

    return answer


async def test_greylisted_mail_is_tried_again_when_the_peer_says(tmp_path: Path) -> None:
    script: dict[str, Scripted] = {"RCPT": b"451 4.7.1 Greylisted, try again in 120 seconds\r\n"}
    async with (
        Receiver(script) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        before = now_ms()
        await relay.send("b@example.test")
        (line,) = await relay.until_attempted()
        (entry,) = await relay.queue()
    assert before + 120_000 <= entry.due_at <= now_ms() + 133_000
    assert entry.attempts == 1
    assert line["reaction"] == "greylisting"
    assert relay.metric("relay_reactions_total", action="retry_later") == 1


async def test_what_a_blocked_source_was_refused_leaves_from_another_at_once(
    tmp_path: Path,
) -> None:
    complaints: list[Complaint] = []
    async with (
        Receiver({"MAIL": refusing("127.0.0.2", BLOCKED)}) as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, pools=TWO), complain=complaints.append
        ) as relay,
    ):
        for n in range(20):
            await relay.send(f"b{n}@example.test")
        await receiver.until_messages(20)
        await relay.until_empty()
        assert {message.client for message in receiver.messages} == {"127.0.0.4"}
        assert relay.metric("relay_recipients_bounced_total") == 0
        refused = [session for session in receiver.sessions if session.client == "127.0.0.2"]
        for n in range(20):
            await relay.send(f"c{n}@example.test")
        await receiver.until_messages(40)
        await relay.until_empty()
        # It rests: nothing more is tried from it.
        assert [s for s in receiver.sessions if s.client == "127.0.0.2"] == refused
        assert {one.rule for one in complaints} == {"microsoft-blocked"}
        assert {(one.source, one.line) for one in complaints} == {("127.0.0.2", receiver.address)}


async def test_where_no_other_source_is_left_refused_mail_waits_by_the_schedule(
    tmp_path: Path,
) -> None:
    async with (
        Receiver({"MAIL": BLOCKED}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test")
        await relay.until_attempted()
        (entry,) = await relay.queue()
        assert entry.attempts == 1
        assert entry.due_at > now_ms() + 50_000
        # What comes meanwhile waits until the rest is over, and no attempt is counted.
        await relay.send("c@example.test", lifetime=86_400)

        async def waits() -> bool:
            return sum(not one.claimed for one in await relay.queue()) == 2

        await relay.until(waits)
        entry = max(await relay.queue(), key=lambda one: one.due_at)
        assert entry.attempts == 0
        assert now_ms() + 14_300_000 <= entry.due_at <= now_ms() + 14_500_000
        assert len(relay.lines.of("delivery attempt")) == 1


@pytest.mark.parametrize(
    "greeting",
    [
        b"554 Blocked - see https://ipcheck.proofpoint.com/?ip=127.0.0.2\r\n",
        b"421 ME Service refuse. Service refused, please try later. OFR_999 [999]\r\n",
    ],
    ids=["other_source", "pause"],
)
async def test_a_source_refused_at_the_greeting_rests_and_no_mail_bears_it(
    tmp_path: Path, greeting: bytes
) -> None:
    script = {"greeting": refusing("127.0.0.2", greeting, b"220 receiver.test ESMTP\r\n")}
    async with (
        Receiver(script) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, pools=TWO)) as relay,
    ):
        for n in range(20):
            await relay.send(f"b{n}@example.test")
        await receiver.until_messages(20)
        await relay.until_empty()
        attempts = relay.lines.of("delivery attempt")
        assert {line["kind"] for line in attempts} == {"delivered"}
        assert {line["attempt"] for line in attempts} == {1}


@pytest.mark.parametrize(
    "script",
    [
        {"greeting": Do.CLOSE},
        {"MAIL": Do.CLOSE},
        {"RCPT": Do.RESET},
        {"end": Do.CLOSE},
        {"RCPT": b"gibberish\r\n"},
        {"EHLO": Do.CLOSE},
    ],
    ids=str,
)
async def test_what_this_relay_says_in_a_peers_stead_never_feeds_the_rules(
    tmp_path: Path, script: dict[str, Scripted]
) -> None:
    rules = [{"name": "all", "code": ["4xx", "5xx"], "action": "pause"}]
    complaints: list[Complaint] = []
    async with (
        Receiver(script) as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, reactions=rules),
            complain=complaints.append,
        ) as relay,
    ):
        await relay.send("b@example.test")
        (line,) = await relay.until_attempted()
        assert line["kind"] == "deferred"
        assert "reaction" not in line
        assert not complaints
        assert relay.metric("relay_reactions_total") == 0
        assert not relay.scheduler._dispatcher._reacting.resting(receiver.address)


async def test_a_throttle_at_the_greeting_costs_no_attempt_and_one_complaint_a_connection(
    tmp_path: Path,
) -> None:
    complaints: list[Complaint] = []
    rules = [{"name": "busy", "code": 421, "action": "slow_down"}]
    async with (
        Receiver({"greeting": b"421 4.3.2 busy\r\n"}) as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address, reactions=rules),
            complain=complaints.append,
        ) as relay,
    ):
        for n in range(30):
            await relay.send(f"b{n}@example.test")

        async def waits() -> bool:
            return not any(entry.claimed for entry in await relay.queue())

        await relay.until(waits)
        queue = await relay.queue()
        assert {entry.attempts for entry in queue} == {0}
        assert now_ms() + 25_000 < min(entry.due_at for entry in queue)
        assert max(entry.due_at for entry in queue) < now_ms() + 35_000
        assert len(complaints) == len(receiver.sessions) <= 5


async def test_mail_that_waits_for_a_rest_bounces_when_it_has_grown_too_old(
    tmp_path: Path,
) -> None:
    async with (
        Receiver({"greeting": b"554 IP=127.0.0.2 - A problem occurred. (BL)\r\n"}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address)) as relay,
    ):
        await relay.send("b@example.test", lifetime=1.0, reverse_path="")
        await relay.until_empty()
        (line,) = relay.lines.of("delivery given up: the message has expired")
    assert "rests for" in line["reply"]
    assert "t-online-blocked" in line["reply"]


async def test_too_many_connections_cost_no_attempt_while_others_are_open(tmp_path: Path) -> None:
    def greeting(session: Session, line: str) -> bytes:
        if receiver.open > 1:
            return b"421 4.7.0 receiver.test Error: too many connections from 127.0.0.2\r\n"
        return b"220 receiver.test ESMTP\r\n"

    complaints: list[Complaint] = []
    async with Receiver({"greeting": greeting}) as receiver:
        config = make_config(tmp_path, route=receiver.address)
        async with Outgoing(config, complain=complaints.append) as relay:
            await relay.send("first@example.test")
            await receiver.until_messages(1)
            for n in range(30):
                await relay.send(f"b{n}@example.test")
            await receiver.until_messages(31)
            await relay.until_empty()
            attempts = relay.lines.of("delivery attempt")
            assert {line["kind"] for line in attempts} == {"delivered"}
            assert {one.action for one in complaints} <= {"fewer_connections"}


async def test_a_rule_of_ones_own_gives_mail_up_at_the_first_word(tmp_path: Path) -> None:
    rules = [{"name": "gone", "text": "no longer with us", "action": "bounce"}]
    async with (
        Receiver({"RCPT": b"450 4.2.1 he is no longer with us\r\n"}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, reactions=rules)) as relay,
    ):
        await relay.send("b@example.test", reverse_path="")
        (line,) = await relay.until_attempted()
        await relay.until_empty()
    assert (line["kind"], line["reaction"]) == ("bounced", "gone")


async def test_a_rest_that_the_supervisor_tells_of_moves_the_mail_that_waits(
    tmp_path: Path,
) -> None:
    def silent(session: Session, line: str) -> Happening:
        return Do.SILENT if session.client == "127.0.0.2" else b"250 ok\r\n"

    async with (
        Receiver({"MAIL": silent}) as receiver,
        Outgoing(make_config(tmp_path, route=receiver.address, pools=TWO)) as relay,
    ):
        for n in range(60):
            await relay.send(f"b{n}@example.test")
        stuck = [way for way in relay.scheduler._dispatcher._ways if way.waiting]
        assert {way.path.source for way in stuck} >= {"127.0.0.2"}
        relay.scheduler.told(Rest("127.0.0.2", receiver.address, time.monotonic() + 60))
        # All but what was being attempted has another source now.
        await receiver.until_messages(55)
        assert not any(way.waiting for way in stuck)


class Reins:
    """Holds back what one scheduler sends, as the supervisor does for all workers."""

    def __init__(self, relay: Outgoing) -> None:
        self.relay = relay

    def slow_down(self, source: str, line: str, limit: Limit | None) -> None:
        key = temper_key(source, line)
        self.relay.limits.override(key, limit)
        self.relay.scheduler.limit_changed(key, limit)

    def fewer_connections(self, source: str, line: str, most: int | None) -> None:
        raise AssertionError("not in these tests")

    def allowed(self, source: str, line: str) -> tuple[float, float]:
        return inf, 20.0

    def connected(self, source: str, line: str) -> int:
        return 0

    async def flowed(self, source: str, line: str) -> float:
        return self.relay.scheduler.flow(source, line)


async def test_a_throttled_source_goes_on_at_half_of_what_flowed(tmp_path: Path) -> None:
    times: list[float] = []
    throttle = [False]

    def mail(session: Session, line: str) -> bytes:
        if throttle[0]:
            return b"421 4.7.28 Our system has detected an unusual rate of unsolicited mail\r\n"
        return b"250 ok\r\n"

    def end(session: Session, line: str) -> bytes:
        times.append(asyncio.get_running_loop().time())
        return b"250 ok\r\n"

    async with Receiver({"MAIL": mail, "end": end}) as receiver:
        config = make_config(tmp_path, route=receiver.address)
        heard: list[Complaint] = []
        async with Outgoing(config, complain=heard.append) as relay:
            reining = Restraining(
                Reins(relay),
                relay.scheduler.told,
                relay.metrics,
                relay.log,
                clock=time.monotonic,
                wall=now_ms,
            )
            for n in range(100):
                await relay.send(f"b{n}@example.test")
            await receiver.until_messages(100)
            throttle[0] = True
            await relay.send("c@example.test")
            await relay.until(lambda: heard)
            reining.hear(heard[0])
            await relay.until(reining.in_force)
            throttle[0] = False
            (slowed,) = reining.in_force()
            assert 2.0 <= slowed.level <= 5.1
            del times[:]
            for n in range(8):
                await relay.send(f"d{n}@example.test")
            await receiver.until_messages(108)
            assert (len(times) - 1) / (times[-1] - times[0]) <= slowed.level * 1.2
            # Lifted, it goes as it did.
            reining.clear("127.0.0.2", receiver.address)
            for n in range(50):
                await relay.send(f"e{n}@example.test")
            await receiver.until_messages(158, seconds=5)


@pytest.mark.parametrize(
    ("said", "goes_at_once"),
    [
        (b"421 4.7.0 Idle for too long, closing the connection\r\n", True),
        (b"421 4.7.28 Our system has detected an unusual rate of unsolicited mail\r\n", False),
    ],
    ids=["a goodbye", "an objection"],
)
async def test_a_421_to_the_next_message_of_a_connection_is_heeded_where_it_objects(
    tmp_path: Path, said: bytes, goes_at_once: bool
) -> None:
    def mail(session: Session, line: str) -> Happening:
        return (said, Do.CLOSE) if session.taken else b"250 ok\r\n"

    complaints: list[Complaint] = []
    async with (
        Receiver({"MAIL": mail}) as receiver,
        Outgoing(
            make_config(tmp_path, route=receiver.address), complain=complaints.append
        ) as relay,
    ):
        await relay.send("a@example.test")
        await relay.until_empty()
        await relay.send("b@example.test")
        await relay.until_attempted(2)
        assert len(await relay.queue()) == (0 if goes_at_once else 1)
    assert [complaint.action for complaint in complaints] == ([] if goes_at_once else ["slow_down"])
    assert len(receiver.sessions) == (2 if goes_at_once else 1)
