"""Return-paths of the whole program: several workers, one file of keys, a change of keys."""

import re
import stat
import time

from relay.mail.verp import read
from relay.signing.return_path_keys import FILE_NAME, read_keys
from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Action, Receiver

DAY = 86_400_000


def test_every_worker_makes_return_paths_with_the_key_of_the_relay(
    program: Program, receiver: Receiver
) -> None:
    def mail_from(document: dict[str, dict[str, object]]) -> None:
        document["identities"]["sender.test"]["mail_from"] = "bounce.sender.test"  # type: ignore[index]
        document["workers"] = 2  # type: ignore[assignment]

    def refuse(stage: str, text: str) -> Action:
        return "550 5.0.9 flurb" if stage == "rcpt" and "flurb" in text else None

    receiver.behave = refuse
    program.configure(mail_from)
    program.start()
    data_dir = program.directory / program.document()["data_dir"]
    assert stat.S_IMODE((data_dir / FILE_NAME).stat().st_mode) == 0o600
    for _ in range(4):
        program.send()
    wait_until(lambda: len(receiver.messages) == 4, what="delivery")
    program.run("bounces", "rotate-key")
    program.run("reload")
    program.send()
    wait_until(lambda: len(receiver.messages) == 5, what="delivery under the new key")
    keys = read_keys(data_dir)
    assert [key.number for key in keys] == [1, 0]
    sent = [message.reverse_path for message in receiver.messages]
    found = [read(path, keys, now=time.time_ns() // 1_000_000, lifetime=DAY) for path in sent]
    assert len({one.message_id for one in found}) == 5
    assert {one.recipient for one in found} == {0}
    with_old_key = [path for path in sent if re.match(r"b\+ca", path)]  # version 1, key 0: 0x10
    assert len(with_old_key) == 4
    assert all(path.endswith("@bounce.sender.test") for path in sent)
    program.send(["flurb@dest.test"])
    wait_until(lambda: '"rule":""' in program.log(), what="the bounce")
    program.terminate()
    (kept,) = program.json("bounces", "unclassified")
    assert (kept["reply"], kept["phase"], kept["count"]) == ("550 5.0.9 flurb", "rcpt", 1)


def test_an_explanation_tells_the_return_path_that_goes_out(
    program: Program, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: "451 4.7.1 Greylisted" if stage == "rcpt" else None
    program.configure(
        lambda d: d["identities"]["sender.test"].update(mail_from="bounce.sender.test")
    )
    program.start()
    program.send(["a@dest.test", "b@dest.test"])
    wait_until(lambda: "Greylisted" in program.run("queue", "list", "--json").stdout)
    (entry,) = program.json("queue", "list")
    (delivery,) = program.json("explain", entry["message_id"])["deliveries"]
    shown = program.run("queue", "show", entry["message_id"]).stdout
    assert f"-> MAIL FROM:<{delivery['return_path']}>" in shown
    assert delivery["return_path"].endswith("@bounce.sender.test")
    assert delivery["return_path"] in program.run("explain", entry["message_id"]).stdout
    asked = program.json("explain", "app@sender.test", "to@dest.test")
    assert asked["return_path"] == "b+TOKEN@bounce.sender.test"
