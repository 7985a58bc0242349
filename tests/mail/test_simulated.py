"""What the addresses of the mailbox simulator do, and what the relay makes of their answers."""

import pytest

from relay.feedback.classify import classify
from relay.mail.replies import Reply
from relay.mail.simulated import (
    MAILBOXES,
    UNKNOWN,
    is_simulator_address,
    simulated,
    simulator_domain,
)


def meaning(mailbox: str) -> tuple[str, str]:
    said = simulated(f"{mailbox}@simulator.relay.test").reply
    reply = Reply(said.code, said.enhanced, said.text, said_by_peer=True)
    found = classify(reply, "rcpt", f"{mailbox}@simulator.relay.test")
    return found.kind, str(found.bounce)


@pytest.mark.parametrize(
    ("address", "is_one"),
    [
        ("success@simulator.relay.test", True),
        ("anything@simulator.relay.test", True),
        ("success@SIMULATOR.relay.test", True),
        ("success@relay.test", False),
        ("success@a.simulator.relay.test", False),
        ("success@xsimulator.relay.test", False),
        ("success@simulator.relay.test.example", False),
        ("", False),
    ],
)
def test_addresses_of_the_simulator_are_those_of_its_domain(address: str, is_one: bool) -> None:
    assert is_simulator_address(address, "Relay.test") is is_one
    assert simulator_domain("Relay.test") == "simulator.relay.test"


def test_a_label_and_the_case_make_no_difference() -> None:
    for address in (
        "bounce@s.test",
        "BOUNCE@s.test",
        "Bounce+order-17@s.test",
        "bounce+a+b@s.test",
    ):
        assert simulated(address) is MAILBOXES["bounce"]


@pytest.mark.parametrize("address", ["x@s.test", '"bounce"@s.test', "+bounce@s.test", "@s.test"])
def test_a_mailbox_that_there_is_not_is_unknown(address: str) -> None:
    assert simulated(address) is UNKNOWN
    assert UNKNOWN.reply.is_permanent


@pytest.mark.parametrize(
    ("mailbox", "kind", "bounce"),
    [
        ("bounce", "bounced", "Permanent/NoEmail"),
        ("no-such-mailbox", "bounced", "Permanent/NoEmail"),
        ("closed", "bounced", "Permanent/General"),
        ("overquota", "bounced", "Transient/MailboxFull"),
        ("toolarge", "bounced", "Transient/MessageTooLarge"),
        ("content", "bounced", "Transient/ContentRejected"),
        ("attachment", "bounced", "Transient/AttachmentRejected"),
        ("blocked", "bounced", "Transient/General"),
        ("undetermined", "bounced", "Undetermined/Undetermined"),
        ("tempfail", "deferred", "Transient/General"),
        ("full", "deferred", "Transient/MailboxFull"),
    ],
)
def test_the_answers_are_classified_as_the_mailboxes_promise(
    mailbox: str, kind: str, bounce: str
) -> None:
    assert meaning(mailbox) == (kind, bounce)


def test_a_greylisting_mailbox_answers_otherwise_at_first() -> None:
    mailbox = simulated("greylist@s.test")
    assert mailbox.at_first is not None
    assert mailbox.at_first.is_transient
    assert mailbox.reply.is_positive
