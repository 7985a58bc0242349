from dataclasses import replace

import pytest

from relay.cli.output import utc_ms
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    EventRecipient,
    Filing,
    PauseFacts,
    RejectFacts,
)
from relay.store.sqlite.log import search
from tests.contract.making import NOW
from tests.contract.test_message_log import bounced, delivered, event, message, sent, suppressed

ID = message(1).id


@pytest.fixture
def some(filed):
    one = message(
        1,
        "a@x.test",
        "b@x.test",
        subject="Order \x1b[31m1",
        accepted_at=utc_ms() - 3 * 3_600_000,
    )
    two = message(2, "c@y.test", accepted_at=utc_ms() - 60_000)
    told = (sent(one), delivered(one, "a@x.test"), bounced(one, "b@x.test"), sent(two))
    filed(Filing("o", 1, (one, two), told))


def test_an_empty_log_finds_nothing(run, anywhere):
    assert run("messages").out == "no message is found\n"
    assert run("messages", "--json").json == {"messages": [], "looked_back_to": 0}


def test_messages_are_listed_newest_first_with_what_became_of_them(run, some):
    lines = run("messages").out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == [message(2).id, ID]
    assert "1 bounced, 1 delivered" in lines[3]
    assert "a@x.test and 1 more" in lines[3]
    assert r"Order \x1b[31m1" in lines[3]
    assert "queued" in lines[2]


def test_a_long_subject_does_not_make_the_table_wide_and_is_shown_whole(run, filed):
    one = message(1, subject="long " * 100, accepted_at=utc_ms())
    filed(Filing("o", 1, (one,), (sent(one),)))
    assert len(run("messages").out.splitlines()[2]) < 250
    assert run("messages", "show", ID).out.count("long") == 100


def test_a_list_that_is_full_says_how_to_go_on(run, some):
    ran = run("messages", "--limit", "1")
    assert f"there may be more: --before {message(2).id}" in ran.err
    listed = run("messages", "--before", message(2).id).out
    assert ID in listed
    assert message(2).id not in listed


def test_all_that_is_said_must_hold(run, some):
    for options, found in (
        (("--recipient", "B@x.test"), True),
        (("--recipient", "b@x.test", "--status", "delivered"), False),
        (("--sender", "@sender.test"), True),
        (("--subject", "order"), True),
        (("--tag", "shop=s1"), True),
        (("--tag", "shop=s2"), False),
        (("--configuration-set", "main", "--credential", "app"), True),
        (("--until", "2026-01-01"), False),
        (("--since", "2h"), False),
        (("--since", "1d"), True),
    ):
        assert (ID in run("messages", *options).out) is found, options


def test_a_time_that_is_none_is_told(run, anywhere):
    for text in ("yesterday", "2026-13-01", "5 parsecs"):
        ran = run("messages", "--since", text)
        assert ran.code == 2
        assert f"--since {text!r}" in ran.err


def test_a_message_is_shown_with_all_that_happened_to_it_in_order(run, some):
    out = run("messages", "show", ID).out
    order = ("client", "recipient", "b@x.test  bounced", "Send:", "Delivery:", "Bounce:")
    places = [out.index(text) for text in order[3:]]
    assert places == sorted(places)
    assert "kind=order, shop=s1" in out
    assert "Permanent/NoEmail: 550 5.1.1 no such user" in out
    found = run("messages", "show", ID, "--json").json
    assert found["statuses"] == [["a@x.test", "delivered"], ["b@x.test", "bounced"]]
    assert [told["type"] for told in found["events"]] == ["Send", "Delivery", "Bounce"]
    assert found["events"][2]["facts"]["subtype"] == "NoEmail"
    assert found["header"].startswith("From: app@sender.test\r\n")


def test_a_message_that_is_not_in_the_log_exits_1_and_says_what_that_may_mean(run, anywhere):
    ran = run("messages", "show", ID)
    assert ran.code == 1
    assert "the message log has no message" in ran.err
    assert "message_log.keep" in ran.err


def test_every_kind_of_event_is_told_in_a_line(run, filed):
    one = message(1)
    who = (EventRecipient("a@x.test", "4.7.1", "451 4.7.1 later", "delayed"),)
    late = BounceFacts("Transient", "General", who, "f", is_returned=True, category="spam")
    filed(
        Filing(
            "o",
            1,
            (one,),
            (
                event(one, "Reject", RejectFacts("Bad content")),
                event(one, "DeliveryDelay", DelayFacts("General", who, one.expires_at)),
                event(one, "Bounce", late),
                suppressed(one),
                event(one, "Complaint", ComplaintFacts("f", feedback_type="abuse", user_agent="A")),
                event(one, "Complaint", ComplaintFacts("f", "OnAccountSuppressionList")),
                replace(
                    event(one, "SendingPaused", PauseFacts("set", "main", "11 % bounced")),
                ),
            ),
        )
    )
    out = run("messages", "show", ID).out
    for line in (
        "not sent: Bad content",
        "tried again (General): 451 4.7.1 later",
        "came back later, Transient/General, spam: 451 4.7.1 later",
        "not sent: on the suppression list\n",
        "complaint (abuse) by A",
        "not sent: on the suppression list for a complaint",
        "set main: 11 % bounced",
    ):
        assert line in out


def test_a_message_of_the_simulator_is_shown_as_that(run, filed, some):
    assert "simulator" not in run("messages", "show", ID).out
    simulated = message(3, "success@simulator.relay.test", is_simulated=True)
    filed(Filing("o", 2, (simulated,), (sent(simulated),)))
    assert "nowhere: it is for the mailbox simulator" in run("messages", "show", simulated.id).out


def test_of_what_is_too_much_to_show_the_first_events_are_shown_and_it_is_said(run, filed):
    one = message(1)
    many = tuple(
        replace(event(one, "DeliveryDelay", DelayFacts("General", (), 0)), at=NOW + number)
        for number in range(1_001)
    )
    filed(Filing("o", 1, (one,), many))
    ran = run("messages", "show", ID, "--json")
    assert len(ran.json["events"]) == 1_000
    assert ran.json["events"][0]["at"] == NOW
    assert "only the first 1,000 events" in ran.err


def test_a_search_that_took_too_long_says_how_to_go_on(run, some, monkeypatch):
    with monkeypatch.context() as hurried:
        hurried.setattr(search, "_WINDOW", 1)
        hurried.setattr(search, "_SECONDS", 0.0)
        ran = run("messages", "--subject", "31m1")
    assert ran.out == "no message is found\n"
    assert "looked back to " in ran.err
    until = ran.err.partition("go on with --until ")[2].strip()
    assert ID in run("messages", "--subject", "31m1", "--until", until).out


def test_a_page_cannot_go_on_behind_what_is_no_message(run, anywhere):
    ran = run("messages", "--before", "x")
    assert ran.code == 1
    assert "'x' is not a message id" in ran.err
    assert "from 1 to 1000" in run("messages", "--limit", "0").err
