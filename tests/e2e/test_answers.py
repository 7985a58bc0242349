"""Why has this not gone out? What operators have ordered to wait, and what peers have said."""

from tests.e2e.program import Program, wait_until
from tests.e2e.receiver import Receiver


def test_mail_to_a_suspended_domain_waits_over_a_restart_until_it_is_resumed(
    program: Program, receiver: Receiver
) -> None:
    program.start()
    program.run("suspend", "domain", "dest.test", "--reason", "they asked us to wait")
    program.send(message_id="<waits@client.test>")
    program.send(["to@other.test"], message_id="<goes@client.test>")
    wait_until(lambda: len(receiver.messages) == 1, what="delivery to the other domain")
    wait_until(
        lambda: [e["state"] for e in program.json("queue", "list")] == ["suspended"],
        what="suspended mail",
    )
    assert "they asked us to wait" in program.run("status").stdout
    [entry] = program.json("queue", "list")
    told = program.run("explain", entry["message_id"]).stdout
    assert "domain dest.test is suspended by" in told
    assert "they asked us to wait" in told
    [explained] = program.json("explain", entry["message_id"])["deliveries"]
    assert explained["suspensions"][0]["name"] == "dest.test"
    asked = program.run("explain", "app@sender.test", "to@dest.test").stdout
    assert "they asked us to wait" in asked
    assert program.metric("relay_suspensions", kind="domain") == 1
    program.terminate()
    program.start()
    [waiting] = program.json("queue", "list")
    assert (waiting["state"], waiting["attempts"]) == ("suspended", 0)
    program.run("resume", "domain", "dest.test")
    wait_until(lambda: len(receiver.messages) == 2, what="delivery of what was resumed")
    wait_until(lambda: not program.json("queue", "list"), what="an empty queue")


def test_a_suspension_of_a_stopped_relay_is_in_force_from_its_start_and_ends_by_itself(
    program: Program, receiver: Receiver
) -> None:
    program.run("suspend", "set", "default", "--reason", "not yet", "--for", "4s")
    program.start()
    program.send()
    wait_until(lambda: len(receiver.messages) == 1, what="delivery once the time was over")
    assert program.json("suspensions") == []


def test_the_dialogue_of_a_greylisted_message_is_shown_after_a_restart_and_after_delivery(
    program: Program, receiver: Receiver
) -> None:
    receiver.behave = lambda stage, text: "451 4.7.1 Greylisted" if stage == "rcpt" else None
    program.start()
    program.send()
    wait_until(lambda: "Greylisted" in program.run("queue", "list", "--json").stdout)
    [entry] = program.json("queue", "list")
    program.terminate()
    receiver.behave = lambda stage, text: None
    program.start()
    told = program.run("explain", entry["message_id"]).stdout
    assert "attempt 1 did not deliver it" in told
    assert "attempt 2, in " in told
    shown = program.run("queue", "show", entry["message_id"]).stdout
    assert "attempt 1 from 127.0.0.2 to 127.0.0.1[127.0.0.1]" in shown
    assert "-> RCPT TO:<to@dest.test>" in shown
    assert "<- 451 4.7.1 Greylisted" in shown
    program.run("queue", "retry", entry["message_id"])
    wait_until(lambda: not program.json("queue", "list"), what="an empty queue")
    gone = program.run("queue", "show", entry["message_id"]).stdout
    assert "delivered at " in gone
    assert "delivered at " in program.run("explain", entry["message_id"]).stdout
    assert gone.index("attempt 1 from") < gone.index("attempt 2 from")
    found = program.json("queue", "show", entry["message_id"])
    assert [attempt["results"][0]["kind"] for attempt in found["attempts"]] == [
        "deferred",
        "delivered",
    ]


def test_mail_in_the_memory_of_a_worker_is_explained(program: Program, receiver: Receiver) -> None:
    program.configure(lambda d: d["configuration_sets"]["default"].update(rate="4/min"))
    program.start()
    for number in range(4):
        program.send([f"to{number}@dest.test"], message_id=f"<{number}@client.test>")

    def explained() -> list[str]:
        return [
            delivery["verdict"]["why"]
            for entry in program.json("queue", "list")
            for delivery in program.json("explain", entry["message_id"])["deliveries"]
        ]

    wait_until(lambda: any("limit set:default" in why for why in explained()), what="the limit")
    missing = program.run("explain", "0100000000000000-nothing", check=False)
    assert missing.returncode == 1
    assert "was never accepted here" in missing.stderr
