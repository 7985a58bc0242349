"""What operators look at and change."""

import pytest

from relay.mail.envelope import Envelope, Recipient
from relay.store import lists
from relay.store.interface import Store
from relay.store.postgres import operators as of_postgres
from relay.store.sqlite import operators as of_sqlite
from relay.store.values import Owner, QueueDepth, QueueFilter, QueueGroup, Secret, Settlement
from tests.contract.making import NOW, make_new


async def test_the_queue_shows_each_delivery(store: Store, owner: Owner) -> None:
    new = make_new("a@x.test", "b@x.test")
    await store.insert(new, owner)
    (entry,) = await store.queue(QueueFilter())
    assert (entry.message_id, entry.domain, entry.state) == (new.message.id, "x.test", "queued")
    assert entry.recipients == ("a@x.test", "b@x.test")
    assert (entry.credential, entry.configuration_set) == ("app", "main")
    assert (entry.reverse_path, entry.size) == ("app@sender.test", new.message.size)
    assert (entry.accepted_at, entry.expires_at) == (NOW, new.message.expires_at)
    assert entry.claimed


async def test_filters_narrow_the_queue(store: Store) -> None:
    first = make_new("a@x.test", "b@y.test")
    await store.insert(first, None)
    await store.insert(make_new("c@x.test", configuration_set="other"), None)

    async def count(**fields: object) -> int:
        return len(await store.queue(QueueFilter(**fields)))  # type: ignore[arg-type]

    assert await count() == 3
    assert await count(message_id=first.message.id) == 2
    assert await count(message_id="unknown") == 0
    assert await count(domain="X.test") == 2
    assert await count(domain="x.test", configuration_set="main") == 1
    assert await count(state="held") == 0
    assert await count(limit=2) == 2


async def test_depths_tell_how_much_waits_and_since_when(store: Store) -> None:
    await store.insert(make_new(accepted_at=NOW - 5), None)
    await store.insert(make_new(), None)
    await store.insert(make_new(configuration_set="other"), None)
    await store.set_state(QueueFilter(configuration_set="other"), "held")
    assert sorted(await store.depths(), key=lambda depth: depth.configuration_set) == [
        QueueDepth("main", 2, 0, NOW - 5),
        QueueDepth("other", 0, 1, NOW),
    ]


async def test_held_mail_waits_until_it_is_released(store: Store, owner: Owner) -> None:
    await store.insert(make_new(), None)
    assert await store.set_state(QueueFilter(), "held") == 1
    assert await store.set_state(QueueFilter(), "held") == 0
    assert await store.claim(owner, NOW, 10) == []
    assert await store.next_due() is None
    assert await store.set_state(QueueFilter(state="held"), "queued") == 1
    assert len(await store.claim(owner, NOW, 10)) == 1


async def test_claimed_mail_is_held_when_it_comes_back(store: Store, owner: Owner) -> None:
    (delivery,) = (await store.insert(make_new(), owner)).deliveries
    await store.set_state(QueueFilter(), "held")
    assert await store.settle(owner, Settlement(delivery, delivery.recipients, NOW))
    assert await store.claim(owner, NOW, 10) == []
    (entry,) = await store.queue(QueueFilter(state="held"))
    assert not entry.claimed


async def test_a_retry_makes_waiting_mail_due_and_leaves_claimed_mail_alone(
    store: Store, owner: Owner
) -> None:
    await store.insert(make_new(due_at=NOW + 1_000), None)
    await store.insert(make_new(due_at=NOW + 1_000), owner)
    assert await store.retry_now(QueueFilter(), NOW) == 1
    assert len(await store.claim(owner, NOW, 10)) == 1


async def test_operators_take_what_nobody_has_whatever_its_state(
    store: Store, owner: Owner
) -> None:
    await store.insert(make_new(due_at=NOW + 1_000), None)
    await store.insert(make_new(configuration_set="other"), None)
    await store.set_state(QueueFilter(configuration_set="other"), "held")
    await store.insert(make_new(), owner)
    desk = await store.register("desk", 1_000)
    taken = await store.take(desk, QueueFilter())
    assert len(taken) == 2
    for delivery in taken:
        assert await store.settle(desk, Settlement(delivery))


async def test_a_message_is_found_by_its_id(store: Store) -> None:
    envelope = Envelope("", (Recipient("a@x.test"),))
    new = make_new(envelope=envelope)
    await store.insert(new, None)
    found = await store.find_message(new.message.id)
    assert found is not None
    assert found.envelope == envelope
    assert await store.find_message("unknown") is None


async def test_secrets_are_kept_and_revoked(store: Store) -> None:
    await store.add_secret(Secret("app", b"salt", b"digest", NOW))
    await store.add_secret(Secret("other", b"s", b"d", NOW))
    assert await store.revoke_secrets("app", NOW + 1) == 1
    assert await store.revoke_secrets("app", NOW + 2) == 0
    first, second = await store.secrets()
    assert (first.credential, first.salt, first.digest) == ("app", b"salt", b"digest")
    assert (first.revoked_at, second.revoked_at) == (NOW + 1, None)
    assert first.id != second.id


async def test_the_queue_is_counted_by_set_by_domain_and_by_where_it_was_moved(
    store: Store, owner: Owner
) -> None:
    await store.insert(make_new("a@one.test", "b@two.test", due_at=NOW + 5), None)
    await store.insert(make_new("a@one.test", configuration_set="other"), owner)
    await store.set_state(QueueFilter(domain="two.test"), "held")

    by_domain = {group.name: group for group in await store.groups("domain")}
    assert by_domain == {
        "one.test": QueueGroup("one.test", "", 2, 0, 0, 0, 1, NOW, NOW + 5),
        "two.test": QueueGroup("two.test", "", 0, 1, 0, 0, 0, NOW, None),
    }
    by_set = {group.name: group for group in await store.groups("set")}
    assert by_set == {
        "main": QueueGroup("main", "", 1, 1, 0, 0, 0, NOW, NOW + 5),
        "other": QueueGroup("other", "", 1, 0, 0, 0, 1, NOW, None),
    }
    assert {(group.name, group.pool) for group in await store.groups("pool")} == {
        ("main", ""),
        ("other", ""),
    }


async def test_each_filter_finds_its_mail_and_no_other(store: Store) -> None:
    wanted = make_new(
        "Ann@x.test",
        "b@x.test",
        credential="web",
        envelope=Envelope("News@s.test", (Recipient("Ann@x.test"), Recipient("b@x.test"))),
    )
    await store.insert(wanted, None)
    await store.insert(make_new("c@x.test"), None)
    for which in (
        QueueFilter(credential="web"),
        QueueFilter(sender="news@S.test"),
        QueueFilter(recipient="ann@x.test"),
        QueueFilter(recipient="B@x.test", credential="web", domain="x.test"),
    ):
        (entry,) = await store.queue(which)
        assert entry.message_id == wanted.message.id
        assert len(await store.matching(which)) == 1
    assert await store.queue(QueueFilter(credential="web", recipient="c@x.test")) == []


async def test_moved_mail_keeps_its_pool_and_is_found_by_it(store: Store, owner: Owner) -> None:
    await store.insert(make_new("a@x.test"), None)
    await store.insert(make_new("b@y.test", configuration_set="other"), None)
    assert await store.move(QueueFilter(domain="x.test"), "warm") == 1
    assert await store.move(QueueFilter(domain="x.test"), "warm") == 0
    found = await store.queue(QueueFilter(pool="warm", pool_sets=("other",)))
    assert [entry.pool for entry in found] == ["warm", ""]
    assert await store.queue(QueueFilter(pool="cold", pool_sets=("main",))) == []
    claimed = {d.domain: d.pool for d in await store.claim(owner, NOW, 10)}
    assert claimed == {"x.test": "warm", "y.test": ""}


async def test_long_work_goes_in_parts_that_what_comes_later_is_no_part_of(store: Store) -> None:
    for _ in range(3):
        await store.insert(make_new(), None)
    first, second, third = await store.matching(QueueFilter())
    assert await store.matching(QueueFilter(limit=2)) == [first, second]
    newest = await store.newest()
    await store.insert(make_new(), None)
    assert await store.matching(QueueFilter(after=first, upto=newest)) == [second, third]
    assert await store.set_state(QueueFilter(after=second, upto=newest), "held") == 1


async def test_a_filter_looks_at_all_rows_however_many_one_question_takes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for operators in (of_sqlite, of_postgres):
        monkeypatch.setattr(operators, "EXAMINED", 3)
    monkeypatch.setattr(lists, "_CHANGED", 2)
    for number in range(10):
        await store.insert(make_new("a@x.test" if number % 4 else "a@y.test"), None)
    assert len(await store.matching(QueueFilter(domain="x.test"))) == 7
    assert await store.set_state(QueueFilter(domain="x.test"), "held") == 7
    assert len(await store.queue(QueueFilter(state="held", limit=5))) == 5
