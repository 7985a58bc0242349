"""A row that does not hold what was written is set apart in every store, and the rest goes on."""

import pytest

from relay.store.interface import BodyDamaged, Store, StoreUnavailable
from relay.store.values import Owner, QueueFilter
from tests.contract.making import NOW, Kind, make_new, read

NO_JSON = [b"\x00\xff", b"\xff", b"", b"{", b"{}", b"[5]", b'"word"', b'{"envelope": 5}']


@pytest.mark.parametrize(
    ("column", "content"),
    [("facts", b"\x00\xff"), ("facts", b"{}"), ("header", b"\x00"), ("recipients", b"[5]")],
)
async def test_the_rest_is_claimed_and_the_damage_told(
    kind: Kind, store: Store, owner: Owner, column: str, content: bytes
) -> None:
    bad, good = make_new("a@x.test"), make_new("b@x.test")
    await store.insert(bad, None)
    await store.insert(good, None)
    await kind.harm(bad.message.id, column, content)
    assert [d.message.id for d in await store.claim(owner, NOW, 10)] == [good.message.id]
    assert kind.errors == ["damaged"]
    (entry,) = await store.queue(QueueFilter(state="quarantined"))
    assert entry.domain == "x.test"
    assert sum(depth.quarantined for depth in await store.depths()) == 1
    assert await store.claim(owner, NOW, 10) == []


async def test_a_body_that_is_not_what_was_stored_sets_its_message_apart(
    kind: Kind, store: Store, owner: Owner
) -> None:
    new = make_new()
    await store.insert(new, None)
    (delivery,) = await store.claim(owner, NOW, 1)
    await kind.harm(new.message.id, "body", b"\x00")
    with pytest.raises(BodyDamaged):
        await read(store, delivery)
    assert len(await store.queue(QueueFilter(state="quarantined"))) == 1


@pytest.mark.parametrize("column", ["facts", "recipients"])
async def test_filters_find_the_others_whatever_stands_in_a_damaged_row(
    kind: Kind, store: Store, column: str
) -> None:
    news = [make_new(f"{number}@x.test") for number in range(len(NO_JSON) + 1)]
    for new in news:
        await store.insert(new, None)
    whole = await store.matching(QueueFilter(message_id=news[-1].message.id))
    for new, content in zip(news, NO_JSON, strict=False):
        await kind.harm(new.message.id, column, content)
    last = f"{len(NO_JSON)}@X.test"
    assert await store.matching(QueueFilter(recipient=last)) == whole
    by_content = QueueFilter(recipient=last, credential="app", sender="App@sender.test")
    assert await store.matching(by_content) == whole
    assert await store.matching(QueueFilter(recipient=last, credential="other")) == []
    assert await store.matching(QueueFilter(recipient=last, sender="eve@sender.test")) == []
    assert len(await store.queue(QueueFilter())) == len(news)


async def test_a_message_that_is_damaged_cannot_be_found(kind: Kind, store: Store) -> None:
    new = make_new()
    await store.insert(new, None)
    await kind.harm(new.message.id, "facts", b"{}")
    with pytest.raises(StoreUnavailable, match="damaged"):
        await store.find_message(new.message.id)
