"""Each address of the mailbox simulator does what it promises, by the real program, and leaves no
trace where it must not."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.internet import Internet, Sent
from tests.e2e.program import wait_until
from tests.e2e.test_events import World

pytestmark = pytest.mark.xdist_group("simulator")  # one relay for all

SIMULATOR = "simulator.relay.test"


class Simulated(World):
    """A relay whose only source is suspended and whose quota is next to nothing: mail for the
    simulator needs neither."""

    def _configure(self, document: Any) -> None:
        document["workers"] = 2
        document["retry"] = {"schedule": ["1s"]}
        document["pools"]["idle"] = {"sources": [{"address": "127.0.0.3"}]}
        document["configuration_sets"]["idle"] = {"pool": "idle", "tls": "require"}
        document["account"] = {"quota": 1, "on_limit": "reject"}
        super()._configure(document)
        # Replies come to the sender himself, and not to a return-path of the relay's.
        document.pop("returns", None)
        for identity in document["identities"].values():
            identity.pop("mail_from", None)

    def events(self, sent: Sent) -> list[dict[str, Any]]:
        """What has been told of a message by now."""
        return self._events(sent)

    def told_first(self, sent: Sent, *types: str) -> list[dict[str, Any]]:
        """The events of a message once they begin with these."""

        def begin() -> list[str]:
            return [event["eventType"] for event in self._events(sent)][: len(types)]

        wait_until(lambda: begin() == list(types), 20, f"{', '.join(types)} of {sent.id}")
        return self._events(sent)[: len(types)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    with Internet() as internet:
        world = Simulated(tmp_path_factory.mktemp("simulator"), internet)
        world.sender.program.run("suspend", "source", "127.0.0.3", "--reason", "test")
        yield world
        world.sender.program.stop()
        world.endpoint.close()


def send(world: Simulated, *mailboxes: str, configuration_set: str = "idle") -> Sent:
    addresses = [f"{mailbox}@{SIMULATOR}" for mailbox in mailboxes]
    return world.sender.send(*addresses, configuration_set=configuration_set)


def test_success_is_delivered_without_a_source_or_a_quota(world: Simulated) -> None:
    sent = send(world, "success+first")
    _, delivery = world.told(sent, "Send", "Delivery")
    assert delivery["delivery"]["recipients"] == [f"success+first@{SIMULATOR}"]
    assert delivery["delivery"]["smtpResponse"] == "250 2.0.0 Ok simulated"
    assert delivery["delivery"]["remoteMtaIp"] == "127.0.0.1"


@pytest.mark.parametrize(
    ("mailbox", "kind"),
    [
        ("bounce", "Permanent/NoEmail"),
        ("no-such-mailbox", "Permanent/NoEmail"),
        ("closed", "Permanent/General"),
        ("overquota", "Transient/MailboxFull"),
        ("toolarge", "Transient/MessageTooLarge"),
        ("content", "Transient/ContentRejected"),
        ("attachment", "Transient/AttachmentRejected"),
        ("blocked", "Transient/General"),
        ("undetermined", "Undetermined/Undetermined"),
    ],
)
def test_what_bounces_is_told_as_a_bounce_of_its_kind(
    world: Simulated, mailbox: str, kind: str
) -> None:
    sent = send(world, mailbox)
    _, bounce = world.told(sent, "Send", "Bounce")
    told = bounce["bounce"]
    assert f"{told['bounceType']}/{told['bounceSubType']}" == kind


def test_a_hard_bounce_of_the_simulator_suppresses_nobody(world: Simulated) -> None:
    sent = send(world, "bounce+listed")
    world.told(sent, "Send", "Bounce")
    again = send(world, "bounce+listed")
    _, bounce = world.told(again, "Send", "Bounce")
    assert bounce["bounce"]["bounceSubType"] == "NoEmail"
    assert SIMULATOR not in world.sender.program.run("suppression", "list").stdout


def test_complaint_is_delivered_and_complained_of_a_moment_later(world: Simulated) -> None:
    sent = send(world, "complaint+1")
    _, _, complaint = world.told(sent, "Send", "Delivery", "Complaint")
    told = complaint["complaint"]
    assert told["complainedRecipients"] == [{"emailAddress": f"complaint+1@{SIMULATOR}"}]
    assert told["complaintFeedbackType"] == "abuse"
    assert SIMULATOR not in world.sender.program.run("suppression", "list").stdout


def test_suppressionlist_bounces_as_if_it_were_on_the_list(world: Simulated) -> None:
    sent = send(world, "suppressionlist", "success")
    _, bounce, delivery = world.told(sent, "Send", "Bounce", "Delivery")
    assert bounce["bounce"]["bounceType"] == "Permanent"
    assert bounce["bounce"]["bounceSubType"] == "OnAccountSuppressionList"
    assert delivery["delivery"]["recipients"] == [f"success@{SIMULATOR}"]


@pytest.mark.parametrize(
    ("mailbox", "delay_type"),
    [
        ("tempfail", "RecipientServerError"),
        ("full", "MailboxFull"),
    ],
)
def test_what_fails_for_now_is_delayed(world: Simulated, mailbox: str, delay_type: str) -> None:
    sent = send(world, mailbox)
    _, delay = world.told_first(sent, "Send", "DeliveryDelay")
    assert delay["deliveryDelay"]["delayType"] == delay_type


def test_greylist_takes_a_message_when_it_comes_again_whichever_worker_brings_it(
    world: Simulated,
) -> None:
    for _ in range(3):
        _, delay, _ = world.told(send(world, "greylist"), "Send", "DeliveryDelay", "Delivery")
        assert delay["deliveryDelay"]["delayType"] == "TransientCommunicationFailure"


def test_slow_is_delivered_after_its_time(world: Simulated) -> None:
    _, delivery = world.told(send(world, "slow"), "Send", "Delivery")
    assert delivery["delivery"]["processingTimeMillis"] >= 5_000


def test_ooto_is_delivered_and_answers_the_sender_under_the_null_reverse_path(
    world: Simulated,
) -> None:
    replies = world.internet.inbox.messages
    sent = send(world, "ooto", "ooto+2", "success", configuration_set="default")
    world.told(sent, "Send", "Delivery")
    other = send(world, "ooto+3", configuration_set="default")
    world.told(other, "Send", "Delivery")

    def answers() -> list[Any]:
        return [one for one in replies if one.header("Auto-Submitted") == "auto-replied"
                and one.header("Subject").startswith("Automatic reply")]  # fmt: skip

    wait_until(lambda: len(answers()) == 2, 20, "both answers")
    first = next(one for one in answers() if one.header("In-Reply-To") == sent.message_id)
    assert first.reverse_path == ""
    assert first.header("To") == "<app@sender.test>"
    assert first.header("Subject") == "Automatic reply: Test"


def test_of_a_message_to_both_only_the_real_recipient_counts(world: Simulated) -> None:
    real = f"ann@{world.domain('beside')}"
    boxes = (f"bounce@{SIMULATOR}", f"complaint@{SIMULATOR}")
    sent = world.sender.send(real, *boxes, configuration_set="default")
    wait_until(lambda: len(world.events(sent)) == 5, 20, "five events")
    told = {event["eventType"]: event for event in world.events(sent)}
    assert sorted(event["eventType"] for event in world.events(sent)) == [
        *("Bounce", "Complaint", "Delivery", "Delivery", "Send")
    ]
    assert told["Bounce"]["bounce"]["bouncedRecipients"][0]["emailAddress"] == boxes[0]
    with pytest.raises(AssertionError, match="Daily message quota exceeded"):
        world.sender.send(real, configuration_set="default")
    program = world.sender.program
    assert SIMULATOR not in program.run("suppression", "list").stdout
    account = next(one for one in program.json("reputation") if one["dimension"] == "account")
    counted = account["volume"]
    assert (counted["sent"], counted["bounced"], counted["complained"]) == (1, 0, 0)


def test_the_test_virus_is_rejected_and_never_sent(world: Simulated) -> None:
    virus = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    sent = world.sender.send(f"success@{SIMULATOR}", body=f"{virus}\r\n")
    _, reject = world.told(sent, "Send", "Reject")
    assert reject["reject"] == {"reason": "Bad content"}
    assert world.sender.program.metric("relay_messages_rejected_total", credential="app") == 1


def test_nobody_else_can_reach_it_and_its_domain_needs_no_name_server(world: Simulated) -> None:
    explained = world.sender.program.json("explain", "app@sender.test", f"success@{SIMULATOR}")
    assert explained["route"] == SIMULATOR
    assert not explained.get("problem")
    assert explained["pool"] == "simulator"
