"""What every message log does."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.store.attempted import Way
from relay.store.log_interface import FiledElsewhere, MessageLog
from relay.store.log_values import (
    BounceFacts,
    DeadLetter,
    DelayFacts,
    DeliveryFacts,
    EventFacts,
    EventRecipient,
    EventType,
    Filing,
    LoggedEvent,
    LoggedMessage,
    MessageQuery,
    PauseFacts,
    SendFacts,
    Tally,
    TellingCursor,
)
from relay.store.postgres.log import PostgresLog
from relay.store.postgres.place import Place
from relay.store.sqlite.log import SqliteLog
from tests.contract.making import HEADER, NOW

WAY = Way("main", "192.0.2.1", "other", "mx.x.test", "192.0.2.25", "TLSv1.3")
NO_SUCH = EventRecipient("b@x.test", "5.1.1", "550 5.1.1 no such user", "failed")


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], MessageLog]:
    """Another log on the same place, as another process has it."""
    if request.param == "sqlite":
        return lambda: SqliteLog(tmp_path)
    place = Place(request.getfixturevalue("postgres_url"))
    return lambda: PostgresLog(place)


@pytest.fixture
async def log(make: Callable[[], MessageLog]) -> AsyncIterator[MessageLog]:
    made = make()
    await made.open()
    yield made
    await made.close()


def message(number: int, *recipients: str, **fields: object) -> LoggedMessage:
    made = LoggedMessage(
        id=f"0100019aa51c7e30-{number:08x}-0000-4000-8000-000000000000-000000",
        accepted_at=NOW + number,
        expires_at=NOW + 50_400_000,
        reverse_path="App@Sender.test",
        recipients=recipients or ("a@x.test",),
        credential="app",
        configuration_set="main",
        identity="sender.test",
        size=4_711,
        subject=f"Order {number}",
        header=HEADER,
        tags=(("kind", "order"), ("shop", f"s{number}")),
    )
    return replace(made, **fields)  # type: ignore[arg-type]


def event(
    of: LoggedMessage, type_: EventType, facts: EventFacts, *recipients: str, at: int = NOW
) -> LoggedEvent:
    return LoggedEvent(
        f"{of.id}/{type_}/{at}", type_, of.id, at, recipients or of.recipients, facts
    )


def sent(of: LoggedMessage) -> LoggedEvent:
    return event(of, "Send", SendFacts())


def delivered(of: LoggedMessage, *recipients: str) -> LoggedEvent:
    return event(of, "Delivery", DeliveryFacts(9, "250 ok", WAY), *recipients, at=NOW + 9)


def bounced(of: LoggedMessage, *recipients: str) -> LoggedEvent:
    facts = BounceFacts("Permanent", "NoEmail", (NO_SUCH,), "feedback", counts=True, way=WAY)
    return event(of, "Bounce", facts, *recipients, at=NOW + 9)


def delayed(of: LoggedMessage) -> LoggedEvent:
    return event(of, "DeliveryDelay", DelayFacts("General", (NO_SUCH,), NOW + 99))


def suppressed(of: LoggedMessage, *recipients: str) -> LoggedEvent:
    facts = BounceFacts("Permanent", "OnAccountSuppressionList", (), "feedback")
    return event(of, "Bounce", facts, *recipients)


async def ids(log: MessageLog, **wanted: object) -> list[int]:
    """Numbers of the messages that a search finds, in its order."""
    found = await log.search(MessageQuery(**wanted))  # type: ignore[arg-type]
    return [int(one.message.id[17:25], 16) for one in found.messages]


async def test_what_is_filed_is_found_again_as_it_was(log: MessageLog) -> None:
    first, second = message(1), message(2, "a@x.test", "b@x.test")
    events = (sent(first), sent(second), delivered(first), bounced(second, "b@x.test"))
    await log.file(Filing("o", 7, (first, second), events))
    assert await log.message(first.id) == first
    assert await log.messages([second.id, "nobody", first.id]) == {
        first.id: first, second.id: second,
    }  # fmt: skip
    assert await log.message("nobody") is None
    numbered = [replace(e, number=n) for n, e in enumerate(events, 1)]
    assert await log.events_after(0, 10) == numbered
    assert await log.events_of(second.id) == [numbered[1], numbered[3]]
    assert await log.filed_upto("o") == 7


async def test_what_is_filed_twice_is_there_once(log: MessageLog) -> None:
    one = message(1)
    filing = Filing("o", 5, (one,), (sent(one),), (Tally("account", 1, 3, 2, 1),))
    await log.file(filing)
    await log.file(filing)
    await log.file(replace(filing, upto=4))
    assert len(await log.events_after(0, 10)) == 1
    assert await log.tallies(0) == [Tally("account", 1, 3, 2, 1)]


async def test_what_begins_where_the_log_no_longer_stands_is_not_filed(log: MessageLog) -> None:
    first, second = message(1), message(2)
    await log.file(Filing("o", 5, (first,), (sent(first),), after=0))
    await log.file(Filing("o", 5, (first,), (sent(first),), after=0))  # once more, in doubt
    for other in (Filing("o", 9, after=0), Filing("o", 3, after=0), Filing("o", 9, after=7)):
        with pytest.raises(FiledElsewhere):
            await log.file(replace(other, messages=(second,), events=(sent(second),)))
    assert await log.filed_upto("o") == 5
    assert await log.newest_event() == 1
    await log.file(Filing("o", 9, (second,), (sent(second),), after=5))
    assert await log.newest_event() == 2


async def test_outboxes_are_told_apart(log: MessageLog) -> None:
    await log.file(Filing("first", 90, (message(1),), (sent(message(1)),)))
    assert await log.filed_upto("second") == 0
    await log.file(Filing("second", 2, (message(1), message(2)), (sent(message(2)),)))
    assert (await log.filed_upto("first"), await log.filed_upto("second")) == (90, 2)
    assert len((await log.search(MessageQuery())).messages) == 2


async def test_events_of_messages_that_are_not_known_are_kept_all_the_same(
    log: MessageLog,
) -> None:
    paused = LoggedEvent("e", "SendingPaused", "", NOW, (), PauseFacts("set", "main", "bounces"))
    await log.file(Filing("o", 1, (), (delivered(message(9)), paused)))
    first, second = await log.events_after(0, 10)
    assert (first.type, first.message_id) == ("Delivery", message(9).id)
    assert replace(second, number=0) == paused


async def test_each_recipient_has_the_status_that_his_last_event_gave_him(
    log: MessageLog,
) -> None:
    one = message(1, "a@x.test", "B@x.test", "c@y.test", "d@y.test")
    events = (sent(one), suppressed(one, "d@y.test"), delivered(one, "a@x.test"))
    await log.file(Filing("o", 1, (one,), events))
    await log.file(Filing("o", 2, (), (delayed(replace(one, recipients=("b@x.test",))),)))
    (found,) = (await log.search(MessageQuery())).messages
    assert found.statuses == (
        ("a@x.test", "delivered"),
        ("B@x.test", "delayed"),
        ("c@y.test", "queued"),
        ("d@y.test", "suppressed"),
    )
    await log.file(Filing("o", 3, (), (bounced(one, "B@X.test"),)))
    (found,) = (await log.search(MessageQuery(status="bounced"))).messages
    assert found.statuses[1] == ("B@x.test", "bounced")


async def test_messages_are_searched_for_by_all_that_people_know_of_them(log: MessageLog) -> None:
    one = message(1, "ann@x.test", reverse_path="news@sender.test", subject="50% off_today")
    two = message(2, "Ann@x.test", "bob@y.test", configuration_set="bulk", credential="crm")
    three = message(3, "eve@sub.y.test", tags=())
    await log.file(
        Filing("o", 1, (one, two, three), (sent(one), delivered(two, "bob@y.test"), sent(three)))
    )
    assert await ids(log) == [3, 2, 1]
    assert await ids(log, recipient="ANN@x.test") == [2, 1]
    assert await ids(log, recipient="@y.test") == [2]
    assert await ids(log, recipient="bob@y.test", status="delivered") == [2]
    assert await ids(log, recipient="bob@y.test", status="bounced") == []
    assert await ids(log, sender="news@SENDER.test") == [1]
    assert await ids(log, sender="@sender.test") == [3, 2, 1]
    assert await ids(log, subject="0% OFF_") == [1]
    assert await ids(log, subject="o%f") == []
    assert await ids(log, configuration_set="bulk") == [2]
    assert await ids(log, credential="crm") == [2]
    assert await ids(log, tag=("kind", "order")) == [2, 1]
    assert await ids(log, tag=("shop", "")) == [2, 1]
    assert await ids(log, tag=("shop", "s2")) == [2]
    assert await ids(log, message_id=three.id) == [3]
    assert await ids(log, since=NOW + 2) == [3, 2]
    assert await ids(log, until=NOW + 2) == [1]
    assert await ids(log, limit=2) == [3, 2]
    assert await ids(log, limit=2, before=two.id) == [1]
    assert await ids(log, before="nobody") == []


async def test_between_two_times_all_are_found_though_some_were_filed_in_another_order(
    log: MessageLog,
) -> None:
    order = (3, 1, 2, 6, 5, 4, 9, 8, 7)
    await log.file(Filing("o", 1, tuple(message(n) for n in order)))
    assert await ids(log, since=NOW + 3, until=NOW + 8) == [7, 4, 5, 6, 3]
    assert await ids(log, since=NOW + 10) == []
    assert await ids(log, until=NOW) == []
    assert await ids(log, since=NOW + 3, until=NOW + 8, before=message(5).id) == [6, 3]


async def test_tallies_of_an_hour_add_up(log: MessageLog) -> None:
    await log.file(Filing("o", 1, tallies=(Tally("account", 7, 1), Tally("set:a", 8, 1, 1))))
    await log.file(Filing("o", 2, tallies=(Tally("account", 7, 2, 1, 1),)))
    assert await log.tallies(7) == [Tally("account", 7, 3, 1, 1), Tally("set:a", 8, 1, 1)]
    assert await log.tallies(8) == [Tally("set:a", 8, 1, 1)]
    assert await log.prune_tallies(8) == 1
    assert await log.tallies(0) == [Tally("set:a", 8, 1, 1)]


async def test_cursors_are_kept_and_forgotten(log: MessageLog) -> None:
    assert await log.cursors() == []
    first, second = TellingCursor("a", 5, (7, 9), 2), TellingCursor("b", 6)
    await log.put_cursors([second, first])
    assert await log.cursors() == [first, second]
    await log.put_cursors([replace(first, upto=9, ahead=())])
    await log.forget_cursor("b")
    assert await log.cursors() == [replace(first, upto=9, ahead=())]


async def test_dead_letters_are_bounded_for_each_destination(log: MessageLog) -> None:
    one = sent(message(1))
    for number in range(4):
        await log.add_dead_letters([DeadLetter("a", one, 3, f"410 {number}", NOW + number)], 3)
    await log.add_dead_letters([DeadLetter("b", one, 1, "400", NOW)], 3)
    letters = await log.dead_letters("a")
    assert [letter.error for letter in letters] == ["410 1", "410 2", "410 3"]
    assert letters[0].event == one
    assert await log.dead_letters("a", after=letters[0].id, limit=1) == [letters[1]]
    assert len(await log.dead_letters("")) == 4
    assert await log.count_dead_letters() == {"a": 3, "b": 1}
    assert await log.forget_dead_letters([letters[0].id, 999]) == 1
    assert await log.count_dead_letters() == {"a": 2, "b": 1}


async def test_events_are_counted_and_their_ends_known(log: MessageLog) -> None:
    assert (await log.oldest_event(), await log.newest_event()) == (0, 0)
    made = [message(n) for n in range(5)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    assert (await log.oldest_event(), await log.newest_event()) == (1, 5)
    assert await log.count_events(1, 4) == 3


async def test_what_is_too_old_goes_with_its_events_oldest_first(log: MessageLog) -> None:
    made = [message(n) for n in range(6)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    assert await log.prune(NOW + 3, 1 << 40, keep_from=100, limit=2) == 2
    assert await log.prune(NOW + 3, 1 << 40, keep_from=100, limit=2) == 1
    assert await log.prune(NOW + 3, 1 << 40, keep_from=100, limit=2) == 0
    assert await ids(log) == [5, 4, 3]
    assert await ids(log, recipient="a@x.test") == [5, 4, 3]
    assert await log.oldest_event() == 4
    assert await log.newest_event() == 6


async def test_what_somebody_is_still_to_be_told_stays(log: MessageLog) -> None:
    made = [message(n) for n in range(3)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    assert await log.prune(NOW + 99, 1 << 40, keep_from=2, limit=10) == 1
    assert await ids(log) == [2, 1]


async def test_behind_what_is_still_to_be_told_the_next_oldest_go(log: MessageLog) -> None:
    made = [message(n) for n in range(6)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    await log.file(Filing("o", 2, (), (delayed(made[0]), delayed(made[1]))))
    assert await log.prune(NOW + 4, 1 << 40, keep_from=7, limit=2) == 2
    assert await ids(log) == [5, 4, 1, 0]


async def test_mail_that_is_still_tried_stays_until_a_day_after_it_expires(log: MessageLog) -> None:
    made = [message(n, expires_at=NOW + 50) for n in range(5)]
    await log.file(Filing("o", 1, tuple(made), tuple(sent(one) for one in made)))
    await log.file(Filing("o", 2, (), (delayed(made[1]), delivered(made[2]), delivered(made[3]))))
    day = 86_400_000
    bounds = {"before": NOW + 99, "most_octets": 1 << 40, "keep_from": 1 << 60, "limit": 1}
    assert await log.prune(**bounds, now=NOW) == 1
    assert await log.prune(**bounds, now=NOW) == 1
    assert await log.prune(**bounds, now=NOW) == 0
    assert await ids(log) == [4, 1, 0]
    assert await log.prune(**bounds | {"limit": 9}, now=NOW + day + 49) == 0
    assert await log.prune(**bounds | {"limit": 9}, now=NOW + day + 50) == 3


async def test_one_step_removes_no_more_than_is_quick(log: MessageLog) -> None:
    crowd = tuple(f"a{n}@x.test" for n in range(1_500))
    made = [message(n, *crowd) for n in range(3)]
    for number, one in enumerate(made, 1):
        events = tuple(delivered(one, address) for address in crowd)
        await log.file(Filing("o", number, (one,), events))
    assert await log.prune(NOW + 9, 1 << 40, keep_from=1 << 60, limit=500) == 2
    assert await log.prune(NOW + 9, 1 << 40, keep_from=1 << 60, limit=500) == 1
    assert await log.oldest_event() == 0


async def test_a_log_that_grows_too_large_loses_its_oldest_messages(log: MessageLog) -> None:
    for start in range(0, 2_000, 100):
        made = tuple(
            message(n, subject="x" * 900, header=b"h" * 2_000) for n in range(start, start + 100)
        )
        await log.file(Filing("o", start + 1, made, tuple(sent(one) for one in made)))
    most = 3_000_000
    while await log.prune(0, most, keep_from=1 << 60, limit=100):
        pass
    assert await log.message(made[-1].id) is not None
    assert 200 < (await ids(log, limit=2_000))[-1] < 1_999


async def test_what_was_filed_is_there_after_a_restart(make: Callable[[], MessageLog]) -> None:
    log = make()
    await log.open()
    one = message(1)
    await log.file(Filing("o", 3, (one,), (sent(one),)))
    await log.close()
    again = make()
    await again.open()
    assert await again.message(one.id) == one
    assert await again.filed_upto("o") == 3
    assert await again.newest_event() == 1
    await again.close()
