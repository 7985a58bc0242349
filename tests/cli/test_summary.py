"""`relay queue summary`, with and without a running relay."""

from tests.admin.stored import a_message


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()[2:]]


def test_the_queue_is_counted_by_set_with_all_in_the_last_line(run, queued):
    queued(
        a_message("a@one.test"),
        a_message("b@two.test"),
        a_message("c@one.test", configuration_set="bills"),
    )
    ran = run("queue", "summary")
    assert ran.code == 0
    assert [row[:3] for row in rows(ran.out)] == [
        ["news", "2", "0"],
        ["bills", "1", "0"],
        ["all", "3", "0"],
    ]


def test_held_mail_is_counted_apart(run, queued):
    queued(a_message("a@one.test"), a_message("b@two.test"))
    run("queue", "hold", "--domain", "two.test")
    found = run("queue", "summary", "--by", "domain", "--json").json
    assert {each["name"]: (each["queued"], each["held"]) for each in found["sums"]} == {
        "one.test": (1, 0),
        "two.test": (0, 1),
    }
    assert found["total"]["queued"] == found["total"]["held"] == 1


def test_a_set_counts_for_its_pool(run, queued):
    queued(a_message("a@one.test"), a_message("b@one.test", configuration_set="bills"))
    assert [row[:2] for row in rows(run("queue", "summary", "--by", "pool").out)] == [["main", "2"]]


def test_a_domain_that_a_definition_lists_counts_for_its_provider(run, queued):
    queued(a_message("a@gmail.com"), a_message("b@gmail.com"), a_message("c@elsewhere.test"))
    found = rows(run("queue", "summary", "--by", "provider").out)
    assert [row[:2] for row in found] == [["google", "2"], ["other", "1"], ["all", "3"]]


def test_the_largest_come_first_and_what_is_left_out_is_told(run, queued):
    queued(a_message("a@one.test"), a_message("b@two.test"), a_message("c@two.test"))
    ran = run("queue", "summary", "--by", "domain", "--limit", "1")
    assert [row[:2] for row in rows(ran.out)] == [["two.test", "2"], ["all", "3"]]
    assert "only the largest 1 of 2 are shown" in ran.err


def test_by_source_needs_a_running_relay(run, config_path):
    ran = run("queue", "summary", "--by", "source")
    assert ran.code == 1
    assert "no relay is running" in ran.err


def test_an_empty_queue_is_told_as_such(run, queued):
    queued()
    assert run("queue", "summary").out == "nothing is queued\n"


def test_a_limit_that_makes_no_sense_is_refused(run, queued):
    queued()
    assert run("queue", "summary", "--limit", "0").code == 1
