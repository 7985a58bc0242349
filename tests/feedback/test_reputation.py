"""How streams are judged by what they sent."""

from hypothesis import given
from hypothesis import strategies as st

from relay.config.reputation import Reputation
from relay.feedback.reputation import (
    Volume,
    judge,
    longest_days,
    percent,
    representative,
    rules_of,
    to_heal,
)
from relay.feedback.tallying import HOUR_MS
from relay.store.log_values import Tally
from relay.store.pauses import FreshStart
from tests.limits.making import make_config

NOW = 1_800_000_000_000
HOUR = NOW // HOUR_MS
RULES = Reputation()


def hour(ago: int, sent: int, bounced: int = 0, complained: int = 0) -> Tally:
    return Tally("set:a", HOUR - ago, sent, bounced, complained)


def volume(*tallies: Tally, fresh: FreshStart | None = None, **rules: object) -> Volume:
    return representative(tallies, Reputation.model_validate(rules), NOW, fresh)


def levels(found: Volume, before: dict[str, str] | None = None) -> dict[str, str]:
    return {f.metric: f.level for f in judge(found, RULES, before or {})}  # type: ignore[arg-type]


def test_all_of_the_last_day_is_judged_however_much_it_was() -> None:
    assert volume(hour(0, 9_000), hour(23, 9_000), hour(24, 9_000)).sent == 18_000


def test_who_sends_little_is_judged_by_weeks_of_mail() -> None:
    assert volume(hour(0, 10), hour(300, 20), hour(700, 30)).sent == 60
    assert volume(hour(0, 10), hour(300, 20), hour(720, 30)).sent == 30


def test_older_hours_are_added_until_the_volume_is_reached() -> None:
    found = volume(hour(1, 60), hour(30, 50), hour(40, 70, 70), volume=100)
    assert (found.sent, found.bounced, found.since) == (110, 0, (HOUR - 30) * HOUR_MS)


def test_a_fresh_start_leaves_out_what_was_before_even_in_its_own_hour() -> None:
    fresh = FreshStart("set:a", NOW, sent=100, bounced=90)
    assert volume(hour(0, 100, 90), hour(1, 50, 50), fresh=fresh).sent == 0
    found = volume(hour(0, 110, 91), hour(1, 50, 50), fresh=fresh)
    assert (found.sent, found.bounced) == (10, 1)


def test_a_fresh_start_that_is_yet_to_come_holds_from_this_hour_on() -> None:
    fresh = FreshStart("set:a", NOW + 5 * HOUR_MS, sent=100, bounced=90)
    was = (hour(1, 50, 50), hour(-3, 70, 70), hour(-5, 100, 90))
    assert volume(*was, fresh=fresh).sent == 0
    found = volume(*was, hour(0, 20, 2), fresh=fresh)
    assert (found.sent, found.bounced) == (20, 2)


def test_hours_that_a_clock_ahead_of_time_has_left_behind_count_when_they_come() -> None:
    was = (hour(-17_520, 500, 500), hour(-2, 500, 500), hour(-1, 30, 3), hour(0, 20, 2))
    assert volume(*was).sent == 50
    fresh = FreshStart("set:a", NOW, sent=20, bounced=2)
    assert volume(*was, fresh=fresh).sent == 30
    later = representative(was, RULES, NOW + 2 * HOUR_MS)
    assert later.sent == 550


def test_a_set_is_judged_by_its_own_thresholds_and_by_everybodys_where_it_has_none() -> None:
    config = make_config(
        reputation={"days": "60d", "bounces": {"pause": "20%"}, "complaints": {"pause": "never"}},
        configuration_sets={
            "strict": {"pool": "main", "reputation": {"days": "90d", "bounces": {"warn": "3%"}}},
            "plain": {"pool": "main"},
        },
    )
    strict = rules_of(config, "set:strict")
    assert (strict.bounces.warn, strict.bounces.pause, strict.days) == (0.03, 0.2, 90)
    assert (strict.complaints.pause, strict.volume) == ("never", 10_000)
    assert rules_of(config, "set:plain") == rules_of(config, "account") == config.reputation
    assert longest_days(config) == 90


def test_nothing_is_judged_by_fewer_recipients_than_the_minimum() -> None:
    assert levels(Volume(199, 199)) == {"bounces": "healthy", "complaints": "healthy"}
    assert levels(Volume(200, 20))["bounces"] == "paused"
    assert levels(Volume(999, 0, 999))["complaints"] == "healthy"
    assert levels(Volume(1_000, 0, 5))["complaints"] == "paused"


def test_ses_thresholds_are_the_default() -> None:
    assert levels(Volume(10_000, 499, 9)) == {"bounces": "healthy", "complaints": "healthy"}
    assert levels(Volume(10_000, 500, 10)) == {"bounces": "warned", "complaints": "warned"}
    assert levels(Volume(10_000, 999, 49)) == {"bounces": "warned", "complaints": "warned"}
    assert levels(Volume(10_000, 1_000, 50)) == {"bounces": "paused", "complaints": "paused"}


def test_a_warning_ends_well_below_its_threshold_only() -> None:
    before = {"bounces": "warned"}
    assert levels(Volume(10_000, 499), before)["bounces"] == "warned"
    assert levels(Volume(10_000, 401), before)["bounces"] == "warned"
    assert levels(Volume(10_000, 399), before)["bounces"] == "healthy"


def test_what_stands_close_below_a_pause_is_not_told_anew_and_pauses_nothing() -> None:
    (bounces, _) = judge(Volume(10_000, 950), RULES, {"bounces": "paused"})
    assert (bounces.level, bounces.is_beyond) == ("paused", False)
    assert levels(Volume(10_000, 799), {"bounces": "paused"})["bounces"] == "warned"


@given(st.lists(st.integers(0, 200), min_size=2, max_size=50))
def test_a_level_never_falls_and_rises_without_the_rate_having_left_its_band(
    bounced: list[int],
) -> None:
    """Between two tellings of the same level the rate was a fifth below its threshold."""
    level, rates_since = "healthy", dict.fromkeys(("warned", "paused"), 0.0)
    for count in bounced:
        rate = count / 1_000
        (finding, _) = judge(Volume(1_000, count), RULES, {"bounces": level})  # type: ignore[dict-item]
        rates_since = {name: min(least, rate) for name, least in rates_since.items()}
        if finding.level != level and finding.level == "paused":
            assert rates_since["paused"] <= 0.08
        if level == "healthy" and finding.level == "warned":
            assert rates_since["warned"] <= 0.04
        if finding.level in rates_since:
            rates_since[finding.level] = 1.0
        level = finding.level


def test_a_stream_may_be_left_to_people() -> None:
    rules = Reputation.model_validate({"bounces": {"pause": "never"}})
    (bounces, _) = judge(Volume(1_000, 900), rules, {})
    assert bounces.level == "warned"


def test_a_finding_says_how_much_and_against_what() -> None:
    (bounces, complaints) = judge(Volume(1_034, 116, 1), RULES, {})
    assert bounces.sentence() == (
        "11.22 % of the last 1,034 recipients were hard bounces (limit 10 %)"
    )
    assert complaints.sentence() == "0.1 % of the last 1,034 recipients complained (limit 0.1 %)"


@given(st.integers(1_000, 10**6), st.data())
def test_so_many_good_recipients_more_as_is_said_heal(sent: int, data: st.DataObject) -> None:
    bounced = data.draw(st.integers(0, sent))
    (finding, _) = judge(Volume(sent, bounced), RULES, {"bounces": "warned"})
    more = to_heal(finding, RULES)
    healed = Volume(sent + more, bounced)
    assert levels(healed, {"bounces": "warned"})["bounces"] == "healthy"


@given(
    st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 500), st.integers(0, 500))),
    st.integers(1, 2_000),
)
def test_a_volume_never_holds_more_than_was_sent_and_at_least_what_is_asked_for(
    sent: list[tuple[int, int, int]], wanted: int
) -> None:
    tallies = {ago: hour(ago, count, min(count, bad)) for ago, count, bad in sent}
    found = volume(*tallies.values(), volume=wanted)
    within = [t.sent for ago, t in tallies.items() if ago < 30 * 24]
    assert min(sum(within), wanted) <= found.sent <= sum(within)
    assert 0 <= found.bounced <= found.sent


def test_shares_read_well() -> None:
    assert [percent(x) for x in (0.05, 0.001, 0.11225, 0.0, 1.0)] == [
        "5 %", "0.1 %", "11.22 %", "0 %", "100 %",
    ]  # fmt: skip
