"""What is filed of what the outbox holds."""

import pytest

from relay.events.filing import Memory, Rules, make_filing, strangers
from relay.feedback.policy import Policies
from relay.store.attempted import Attempted, Verdict, Way
from relay.store.happenings import OutboxEntry, Paused, Returned, Sent, Unreadable
from relay.store.log_values import Tally
from tests.contract.making import HEADER, NOW, make_message
from tests.limits.making import make_config

HOUR = NOW // 3_600_000
DEAD = Verdict("b@x.test", True, "Permanent", "NoEmail", "m", "r", "5.1.1", "550 5.1.1 no", "mx")


def rules() -> Rules:
    config = make_config()
    return Rules(config.hostname, Policies.of(config), frozenset({"own.test"}))


def entries(*recipients: str) -> list[OutboxEntry]:
    message = make_message(*recipients)
    dead = tuple(DEAD for address in recipients if address == DEAD.address)
    fine = tuple(address for address in recipients if address != DEAD.address)
    attempted = Attempted(NOW + 5, 1, fine, "250 ok", dead, way=Way("main", "192.0.2.1"))
    return [
        OutboxEntry(3, message.id, NOW, Sent(message)),
        OutboxEntry(4, message.id, NOW + 5, attempted),
    ]


def test_a_filing_has_messages_events_and_tallies_up_to_the_last_entry() -> None:
    some = entries("a@x.test", "b@x.test")
    filing = make_filing("o", some, Memory(), {}, rules()).filing
    assert (filing.outbox, filing.upto) == ("o", 4)
    assert [message.id for message in filing.messages] == [some[0].message_id]
    assert [event.type for event in filing.events] == ["Send", "Delivery", "Bounce"]
    tallies = {tally.dimension: tally for tally in filing.tallies}
    assert tallies["account"] == Tally("account", HOUR, 2, 1, 0)
    assert set(tallies) == {
        "account", "set:main", "credential:app", "identity:sender.test", "pool:main",
        "source:192.0.2.1",
    }  # fmt: skip


def test_the_same_entries_make_the_same_filing() -> None:
    some = entries("a@x.test", "b@x.test")
    assert make_filing("o", some, Memory(), {}, rules()) == make_filing(
        "o", some, Memory(), {}, rules()
    )


def test_what_happens_later_to_a_message_is_counted_as_its_message_says() -> None:
    memory = Memory()
    first, second = entries("a@x.test")
    make_filing("o", [first], memory, {}, rules())
    assert strangers([second], memory) == set()
    filing = make_filing("o", [second], memory, {}, rules()).filing
    assert "set:main" in {tally.dimension for tally in filing.tallies}


def test_a_message_that_nobody_knows_any_more_still_has_its_events() -> None:
    _, second = entries("a@x.test")
    assert strangers([second], Memory()) == {second.message_id}
    filing = make_filing("o", [second], Memory(), {}, rules()).filing
    assert [event.type for event in filing.events] == ["Delivery"]
    assert filing.tallies == ()


def test_what_cannot_be_read_is_passed_over_and_a_pause_needs_no_message() -> None:
    some = [
        OutboxEntry(1, "m", NOW, Unreadable("broken")),
        OutboxEntry(2, "", NOW, Paused("set", "main", True, "11 % bounces")),
    ]
    assert strangers(some[1:], Memory()) == set()
    filing = make_filing("o", some, Memory(), {}, rules()).filing
    assert [event.type for event in filing.events] == ["SendingPaused"]
    assert filing.upto == 2


def test_recipients_at_domains_of_our_own_are_not_counted() -> None:
    filing = make_filing("o", entries("a@own.test", "c@x.test"), Memory(), {}, rules()).filing
    assert {tally.sent for tally in filing.tallies} == {1}


@pytest.mark.parametrize("memory", [Memory(most=2), Memory(most_octets=2 * len(HEADER))])
def test_the_memory_forgets_the_oldest(memory: Memory) -> None:
    for number in range(3):
        some = entries("a@x.test")
        make_filing("o", some, memory, {}, rules())
        if number == 0:
            first = some
    assert strangers([first[1]], memory) == {first[1].message_id}


def test_a_report_is_understood_by_what_is_filed_with_it_and_counts_once() -> None:
    some = entries("a@x.test")
    message_id = some[0].message_id
    dead = Returned(0, "a@x.test", "failed", "5.1.1", "550 5.1.1 User unknown")
    some += [OutboxEntry(number, message_id, NOW + 9, dead) for number in (5, 6)]

    made = make_filing("o", some, Memory(), {}, rules())

    assert [event.type for event in made.filing.events] == ["Send", "Delivery", "Bounce"]
    assert [entry.address for entry in made.suppress] == ["a@x.test"]
    tallies = {tally.dimension: tally for tally in made.filing.tallies}
    assert tallies["account"] == Tally("account", HOUR, 1, 1, 0)
    assert tallies["source:192.0.2.1"].bounced == 1
