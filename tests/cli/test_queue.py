import pytest

from tests.admin.stored import a_message


def test_an_empty_queue_says_so(run, anywhere):
    assert run("queue", "list").out == "nothing is queued\n"
    assert run("queue", "list", "--json").json == []


def test_the_queue_is_a_table_for_people(run, queued):
    (message_id,) = queued(a_message("a@one.test"))
    ran = run("queue", "list")
    assert ran.code == 0
    assert message_id in ran.out
    assert "a@one.test" in ran.out


def test_the_queue_is_json_for_programs_with_the_names_of_the_values(run, queued):
    (message_id,) = queued(a_message("a@one.test"))
    (entry,) = run("queue", "list", "--json").json
    assert entry["message_id"] == message_id
    assert entry["recipients"] == ["a@one.test"]
    assert set(entry) >= {"state", "due_at", "attempts", "configuration_set", "last_reply"}


def test_filters_choose_what_is_listed(run, queued):
    queued(
        a_message("a@one.test"),
        a_message("b@two.test", configuration_set="bills"),
    )
    assert len(run("queue", "list", "--json").json) == 2
    (one,) = run("queue", "list", "--domain", "ONE.test", "--json").json
    assert one["domain"] == "one.test"
    (bills,) = run("queue", "list", "--configuration-set", "bills", "--json").json
    assert bills["domain"] == "two.test"
    assert run("queue", "list", "--state", "held", "--json").json == []
    limited = run("queue", "list", "--limit", "1")
    assert "only the first 1 are shown" in limited.err


def test_a_message_is_shown_with_its_header(run, queued):
    (message_id,) = queued(a_message("a@one.test"))
    ran = run("queue", "show", message_id)
    assert ran.code == 0
    assert "Subject: hello" in ran.out
    assert run("queue", "show", message_id, "--json").json["tags"] == [["campaign", "spring"]]


def test_what_a_foreign_header_holds_cannot_move_the_cursor(run, queued):
    (message_id,) = queued(a_message("a@one.test", header=b"Subject: \x1b[2J\x07 boo\r\n"))
    out = run("queue", "show", message_id).out
    assert "\x1b" not in out
    assert "\\x1b[2J" in out


def test_a_message_that_is_not_there_fails_with_one_sentence(run, anywhere):
    ran = run("queue", "show", "nope")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("relay: no message nope is in the queue")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("verb", ["retry", "hold", "release", "bounce"])
def test_naming_a_message_that_is_not_there_fails_and_the_others_do_not(run, queued, verb):
    (message_id,) = queued(a_message("a@one.test"))
    ran = run("queue", verb, "nope", message_id, *(["--yes"] if verb == "bounce" else []))
    assert ran.code == 1
    assert ran.err == "relay: no message nope is in the queue\n"


def test_mail_is_held_released_and_retried(run, queued):
    (message_id, _) = queued(a_message("a@one.test"), a_message("b@two.test"))
    assert run("queue", "hold", message_id).out == "1 delivery held\n"
    assert [e["state"] for e in run("queue", "list", "--json").json] == ["held", "queued"]
    assert run("queue", "release", "--all", "--json").json == {"count": 1}
    assert {e["state"] for e in run("queue", "list", "--json").json} == {"queued"}
    assert run("queue", "retry", "--domain", "two.test").code == 0


def test_mail_goes_through_another_pool_and_again_through_that_of_its_set(run, queued):
    (message_id,) = queued(a_message("a@one.test"))
    assert (
        run("queue", "move", message_id, "--pool", "fresh").out
        == "1 delivery moved to pool fresh\n"
    )
    moved = run("queue", "move", message_id, "--pool", "-")
    assert moved.out == "1 delivery moved back to the pool of their set\n", moved.err


def test_a_bounce_needs_a_yes(run, queued):
    (message_id,) = queued(a_message("a@one.test", reverse_path=""))
    ran = run("queue", "bounce", message_id)
    assert ran.code == 2
    assert "--yes" in ran.err
    assert run("queue", "bounce", message_id, "--yes").out == "1 delivery bounced\n"
    assert run("queue", "list", "--json").json == []


def test_the_sender_of_bounced_mail_gets_a_report(run, queued):
    queued(a_message("a@one.test"))
    run("queue", "bounce", "--all", "--yes")
    (report,) = run("queue", "list", "--json").json
    assert report["reverse_path"] == ""
    assert report["recipients"] == ["app@sender.test"]


@pytest.mark.parametrize("verb", ["retry", "hold", "release", "bounce"])
def test_nothing_is_changed_where_nothing_is_said(run, config_path, verb):
    ran = run("queue", verb)
    assert ran.code == 2
    assert "--all" in ran.err
