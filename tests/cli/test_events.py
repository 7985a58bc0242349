import pytest

from relay.admin.control import Changed, Refused
from relay.events.states import DestinationState, Replayed, ShownLetter, TrialResult
from tests.admin.stored import NOW

DOWN = DestinationState(
    name="shop",
    type="webhook",
    where="https://hooks.test/in",
    condition="down",
    configuration_sets=("news",),
    backlog=1200,
    oldest_at=NOW,
    last_error="answered 502",
    failing_since=NOW,
    next_try_at=NOW,
)
UP = DestinationState("archive", "file", "/var/log/events", "up", told=7)
LETTER = ShownLetter(
    id=4,
    destination="shop",
    event_id="e-1",
    type="Bounce",
    message_id="m-1",
    happened_at=NOW,
    recipients=("ann@customer.test",),
    attempts=3,
    error="answered 400: no such tag",
    at=NOW,
    content='{"eventType":"Bounce"}',
)


class FakeEvents:
    """What a running relay answers about destinations."""

    def __init__(self) -> None:
        self.asked = []
        self.known = [UP]
        self.parts = [Replayed(told=2)]
        self.counts = [2, 0]
        self.results = [TrialResult("Send", "e-1", True, "200")]

    async def states(self):
        return self.known

    async def test(self, request):
        if request.destination != "shop":
            raise Refused(f"no event destination {request.destination}", "not_found")
        return self.results

    async def letters(self, request):
        self.asked.append(request)
        return [LETTER] if request.after < LETTER.id else []

    async def forget(self, request):
        self.asked.append(request)
        return Changed(self.counts.pop(0))

    async def replay_letters(self, request):
        self.asked.append(request)
        return self.parts.pop(0)

    async def replay(self, request):
        self.asked.append(request)
        return self.parts.pop(0)


@pytest.fixture
def events(running):
    relay, _ = running
    relay.events = FakeEvents()
    return relay.events


def test_destinations_are_listed_with_their_state(run, events):
    for words in (("events",), ("events", "list")):
        ran = run(*words)
        assert ran.code == 0
        assert "archive" in ran.out
        assert "archive is told nothing: no configuration set lists it" in ran.out


def test_one_that_is_down_is_told_with_its_reason_and_exits_1(run, events):
    events.known = [DOWN]
    ran = run("events")
    assert ran.code == 1
    assert "1200" in ran.out
    assert "answered 502; next try now" in ran.out
    assert run("events", "--json").json[0]["condition"] == "down"


def test_no_destination_is_said_in_words(run, events):
    events.known = []
    assert run("events").out == "no event destination is configured\n"


def test_a_test_shows_what_was_answered(run, events):
    ran = run("events", "test", "shop")
    assert ran.code == 0
    assert "Send" in ran.out
    events.results = [TrialResult("Send", "e-1", False, "answered 500")]
    ran = run("events", "test", "shop")
    assert ran.code == 1
    assert "answered 500" in ran.out
    assert "no event destination shp" in run("events", "test", "shp").err


def test_dead_letters_are_listed_and_shown(run, events):
    ran = run("events", "dead", "shop")
    assert ran.code == 0
    assert "no such tag" in ran.out
    ran = run("events", "dead", "--show", "4")
    assert '{"eventType":"Bounce"}' in ran.out
    assert "ann@customer.test" in ran.out
    ran = run("events", "dead", "--show", "5")
    assert ran.code == 1
    assert "there is no dead letter 5" in ran.err
    assert run("events", "dead", "--after", "4").out == "no dead letters\n"


def test_a_replay_goes_on_until_its_end(run, events):
    events.parts = [Replayed(told=100, after=40), Replayed(told=3, refused=1, after=0)]
    ran = run("events", "replay", "shop")
    assert ran.code == 1
    assert ran.out == "told: 103 events, refused: 1\n"
    assert [request.after for request in events.asked] == [0, 40]


def test_a_replay_that_fails_says_why(run, events):
    events.parts = [Replayed(told=1, error="answered 502")]
    ran = run("events", "replay", "shop", "4", "5")
    assert ran.code == 1
    assert "shop takes nothing now: answered 502" in ran.err
    assert events.asked[0].ids == (4, 5)


def test_events_of_a_time_are_replayed(run, events):
    ran = run("events", "replay", "shop", "--since", "2026-11-24", "--until", "2026-11-24T12:00")
    assert ran.code == 0
    (request,) = events.asked
    assert request.until - request.since == 12 * 3_600_000


@pytest.mark.parametrize(
    "words", [("4", "--since", "2h"), ("--until", "2h"), ("--since", "yesterday")]
)
def test_a_replay_that_makes_no_sense_is_refused(run, events, words):
    assert run("events", "replay", "shop", *words).code == 2
    assert events.asked == []


def test_dead_letters_are_forgotten_all_only_on_a_clear_word(run, events):
    ran = run("events", "forget", "shop")
    assert ran.code == 2
    assert events.asked == []
    assert run("events", "forget", "shop", "-y").out == "forgotten: 2 dead letters\n"
    events.counts = [1]
    assert run("events", "forget", "shop", "4").out == "forgotten: 1 dead letter\n"
    assert events.asked[-1].ids == (4,)


def test_ids_that_are_no_dead_letters_of_the_destination_are_told(run, events):
    events.counts = [1]
    ran = run("events", "forget", "shop", "4", "5")
    assert ran.code == 1
    assert "shop has no such dead letters: 1 of those named" in ran.err
    ran = run("events", "replay", "shop", "7", "8", "9")
    assert (ran.code, ran.out) == (1, "told: 2 events, refused: 0\n")
    assert "shop has no such dead letters: 1 of those named" in ran.err


def test_many_dead_letters_are_named_in_parts(run, events):
    events.parts = [Replayed(told=100), Replayed(told=20)]
    assert run("events", "replay", "shop", *map(str, range(1, 121))).code == 0
    assert [len(request.ids) for request in events.asked] == [100, 20]


def test_without_a_running_relay_it_exits_3(run, config_path):
    assert run("events").code == 3
