"""What is said of a delivery that has not gone out."""

from dataclasses import replace

import pytest

from relay.admin.control import LimitStatus
from relay.admin.explained import all_rest, verdict
from relay.delivery.whereabouts import Found
from relay.feedback.restraints import Restraint
from relay.store.values import QueueEntry, Suspension

NOW = 1_800_000_000_000
ENTRY = QueueEntry(
    1, "m", "queued", NOW - 60_000, NOW + 3_600_000, NOW - 1, 0, "app", "news", "a@s.test",
    "x.test", ("b@x.test",), 100, False, "",
)  # fmt: skip
ORDER = Suspension("domain", "x.test", "they asked us to", "ann", NOW, NOW + 5_000)


PAUSE = Restraint("192.0.2.1", "acme", "acme", "pause", "busy", "421 no", NOW, NOW + 900_000)


def said(entry=ENTRY, found=None, orders=(), problem="", limits=(), rest=None, **fleet):
    return verdict(entry, found, "worker-1", orders, problem, limits, NOW, rest, **fleet)


def test_an_operators_word_comes_before_all_else():
    held = replace(ENTRY, state="held")
    assert "an operator holds it" in said(held, orders=(ORDER,), problem="no source").why
    assert "release" in said(held).next
    assert "damaged" in said(replace(ENTRY, state="quarantined")).why


def test_a_suspension_names_who_ordered_it_why_and_when_it_ends():
    told = said(replace(ENTRY, state="suspended"), orders=(ORDER,))
    assert told.why.startswith("domain x.test is suspended by ann until ")
    assert told.why.endswith("they asked us to")
    assert told.at == NOW + 5_000


def test_mail_that_is_too_old_before_its_suspension_ends_bounces():
    late = replace(ORDER, until=NOW + 4_000_000)
    told = said(replace(ENTRY, state="suspended"), orders=(late,))
    assert (told.at, "it bounces" in told.next) == (ENTRY.expires_at, True)


def test_an_attempt_under_way_is_told_though_its_domain_was_suspended_since():
    found = Found(1, "attempted", "192.0.2.1", "google", why="mx.x.test[192.0.2.9]:25", seconds=2.5)
    told = said(replace(ENTRY, claimed=True), found, orders=(ORDER,))
    assert "being attempted by worker-1, from 192.0.2.1 to mx.x.test" in told.why


@pytest.mark.parametrize(
    ("found", "why", "at"),
    [
        (Found(1, "limited", "s", "l", 3, "set:news", seconds=2), "limit set:news holds", 2_000),
        (Found(1, "no connection", "s", "l", 1, why="421 no", seconds=9), "(421 no)", 9_000),
        (Found(1, "in line", "s", "l", 4, connections=2), "number 4 of its lane from s to l", 0),
        (Found(1, "asking DNS"), "worker-1 is asking DNS", 0),
        (Found(1, "not due", seconds=1), "not due yet", 1_000),
        (Found(1, "stored"), "storing what became of it", 0),
    ],
)
def test_what_a_worker_has_is_told_with_what_holds_it(found, why, at):
    told = said(replace(ENTRY, claimed=True), found)
    assert why in told.why
    assert told.at == (NOW + at if at else 0)


def test_a_failed_attempt_is_told_with_its_reply_and_the_next_try():
    deferred = replace(ENTRY, attempts=2, due_at=NOW + 900_000, last_reply="mx: 451 4.7.1 Grey")
    told = said(deferred)
    assert told.why == "attempt 2 did not deliver it: mx: 451 4.7.1 Grey"
    assert (told.next, told.at) == ("attempt 3", NOW + 900_000)


def test_mail_put_off_names_the_limits_that_are_full():
    limits = (
        LimitStatus("set:news", "rate", "1/s", 1, NOW + 60_000),
        LimitStatus("pool:main", "rate", "1/s", 0, 0),
    )
    told = said(replace(ENTRY, due_at=NOW + 90_000), limits=limits)
    assert told.why == "limit set:news has put it off"
    assert "put it off" in said(replace(ENTRY, due_at=NOW + 90_000)).why


def test_due_mail_in_the_store_waits_for_a_source_or_its_turn():
    assert said(problem="no source address of pool main can send now").why.startswith("no source")
    assert "waits in the store for its turn" in said().why
    assert "did not say more" in said(replace(ENTRY, claimed=True)).why


@pytest.mark.parametrize("attempts", [0, 1])
@pytest.mark.parametrize("due_in", [-1, 60_000])
def test_where_every_source_rests_the_end_of_the_first_rest_is_told_and_no_time_before_it(
    attempts, due_in
):
    other = replace(PAUSE, source="192.0.2.2", rule="blocked", until=NOW + 950_000)
    rest = all_rest("main", ["192.0.2.1", "192.0.2.2"], [PAUSE, other], NOW)
    told = said(replace(ENTRY, attempts=attempts, due_at=NOW + due_in), rest=rest)
    assert told.why == (
        "every source of pool main rests for acme (192.0.2.1: busy, 192.0.2.2: blocked)"
    )
    assert told.at == NOW + 900_000
    assert "relay reactions clear 192.0.2.1 acme" in told.next


def test_one_source_that_does_not_rest_is_enough():
    assert all_rest("main", ["192.0.2.1", "192.0.2.2"], [PAUSE], NOW) is None
    assert all_rest("main", [], [PAUSE], NOW) is None
    slow = replace(PAUSE, action="slow_down", until=0)
    assert all_rest("main", ["192.0.2.1"], [slow], NOW) is None


def test_mail_that_is_too_old_before_the_rest_ends_bounces():
    rest = all_rest("main", ["192.0.2.1"], [replace(PAUSE, until=NOW + 4_000_000)], NOW)
    told = said(rest=rest)
    assert (told.at, "it bounces" in told.next) == (ENTRY.expires_at, True)


def test_mail_that_was_put_off_says_what_for():
    put_off = replace(ENTRY, due_at=NOW + 5, why="192.0.2.1 is warming up", attempts=1)
    assert (said(put_off).why, said(put_off).at) == ("192.0.2.1 is warming up", NOW + 5)
    late = said(replace(put_off, due_at=ENTRY.expires_at))
    assert (late.at, "it bounces" in late.next) == (ENTRY.expires_at, True)


def test_due_mail_that_a_limit_keeps_in_the_store_is_told_when_the_limit_frees():
    limit = LimitStatus("set:news", "rate", "2/h", 2, NOW + 7_000)
    told = said(replace(ENTRY, why="it waited for the rate limit of its set"), limits=(limit,))
    assert (told.why, told.at) == ("it waits for the rate limit of its set", NOW + 7_000)


def test_every_order_that_holds_mail_is_named():
    other = Suspension("set", "news", "why", "bob", NOW, NOW + 9_000)
    told = said(replace(ENTRY, state="suspended"), orders=(other, ORDER))
    assert told.why.endswith("why; also suspended: domain x.test")
    assert told.at == NOW + 9_000


@pytest.mark.parametrize(
    "entry", [ENTRY, replace(ENTRY, waits_for="pool:news", due_at=NOW + 60_000)]
)
def test_mail_for_other_nodes_names_them_rather_than_what_is_missing_here(entry):
    told = said(entry, problem="no source address", elsewhere="it waited for a node: b, c")
    assert (told.why, told.at) == ("it waits for a node: b, c", 0)
    assert told.next == "one of them claims it, in its turn"


def test_mail_whose_time_has_not_come_waits_for_that_on_whichever_node():
    deferred = replace(ENTRY, attempts=1, due_at=NOW + 5, last_reply="451 later")
    assert "451 later" in said(deferred, elsewhere="it waited for a node: b").why


def test_what_no_worker_here_has_may_be_at_another_node():
    claimed = replace(ENTRY, claimed=True)
    assert "another node" in said(claimed, is_shared=True, elsewhere="it waited for b").why
    assert "another node" not in said(claimed).why
