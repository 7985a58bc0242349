"""A message log that is damaged, or has no room: mail goes on, and the log catches up."""

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver
from tests.fault.test_events import scribe_of


def logged(program: Program) -> list[str]:
    """To whom the messages are that the log says were delivered, newest first."""
    found = program.json("messages", "--status", "delivered")
    return [one["message"]["recipients"][0].partition("@")[0] for one in found["messages"]]


def send(program: Program, name: str) -> None:
    program.send([f"{name}@dest.test"])


def damage(log: Path) -> None:
    """Overwrite all pages but the first two."""
    with closing(sqlite3.connect(log)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with log.open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(8_192)
        file.write(b"\xaa" * (size - 8_192))


def moved_aside(data: Path) -> int:
    return len({path.name.split("-")[1] for path in data.glob("log.db.damaged-*")})


def test_a_log_that_is_damaged_keeps_no_mail_from_going_and_another_one_is_begun(
    program: Program, receiver: Receiver
) -> None:
    data = program.directory / "data"
    program.start()
    send(program, "first")
    wait_until(lambda: logged(program) == ["first"], what="the first message in the log")
    assert program.terminate() == 0

    damage(data / "log.db")
    program.start()
    wait_until(lambda: moved_aside(data) == 1, what="the damaged log put aside")
    send(program, "second")
    wait_until(lambda: logged(program) == ["second"], what="the second message in the log")
    wait_until(lambda: "the message log is damaged" in program.log(), what="a line in the log")

    # While it is in use: whoever knows what was in it begins anew with the new one.
    scribe = scribe_of(program)
    damage(data / "log.db")
    send(program, "third")
    wait_until(lambda: moved_aside(data) == 2, what="the damaged log put aside")
    send(program, "fourth")
    wait_until(lambda: logged(program)[:1] == ["fourth"], what="the fourth message in the log")
    assert scribe_of(program) != scribe
    assert "second" not in logged(program)
    assert len(receiver.messages) == 4


def test_without_a_log_that_can_be_opened_mail_goes_and_is_filed_later(
    program: Program, receiver: Receiver
) -> None:
    data = program.directory / "data"
    data.mkdir(exist_ok=True)
    with closing(sqlite3.connect(data / "log.db")) as db:
        db.execute("PRAGMA user_version=99")
    program.start()
    send(program, "first")
    wait_until(lambda: len(receiver.messages) == 1, what="delivery")
    wait_until(lambda: "The message log has version 99" in program.log(), what="a line in the log")
    assert program.metric("relay_scribes") == 0
    (data / "log.db").unlink()
    wait_until(lambda: logged(program) == ["first"], what="the message in another log")
    assert program.metric("relay_scribes") == 1
