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
