"""What is left in the database of an insert that nobody was told of."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from relay.store.sqlite import messages, outbox
from relay.store.sqlite.prepare import prepare
from relay.store.values import NewMessage
from tests.contract.making import make_new


@pytest.mark.parametrize(
    "new",
    [
        make_new("a@x.test"),
        replace(make_new("a@x.test"), rejected="Bad content"),
        replace(make_new("a@x.test"), withheld=frozenset({"a@x.test"})),
    ],
    ids=["queued", "rejected", "withheld"],
)
def test_an_insert_that_is_taken_back_was_never_told_of(tmp_path: Path, new: NewMessage) -> None:
    prepare(tmp_path)
    before, after = (replace(make_new("b@x.test"), rejected="Bad content") for _ in range(2))
    with closing(sqlite3.connect(tmp_path / "relay.db")) as db:
        _, accepted, _ = messages.insert(db, [(before, None), (new, None), (after, None)])
        messages.withdraw(db, [accepted])
        left = [entry.message_id for entry in outbox.read(db, 0, 10)]
    assert sorted(left) == sorted([before.message.id, after.message.id] * 2)


def test_what_somebody_has_claimed_since_stays_told_of(tmp_path: Path) -> None:
    prepare(tmp_path)
    new = make_new("a@x.test", "b@y.test")
    with closing(sqlite3.connect(tmp_path / "relay.db")) as db:
        (accepted,) = messages.insert(db, [(new, None)])
        db.execute("UPDATE delivery SET epoch = 7 WHERE domain = 'y.test'")
        messages.withdraw(db, [accepted])
        assert db.execute("SELECT domain FROM delivery").fetchall() == [("y.test",)]
        assert [entry.message_id for entry in outbox.read(db, 0, 10)] == [new.message.id]
