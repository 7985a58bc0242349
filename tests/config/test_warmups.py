"""Schedules for new addresses: what is read, and each mistake with its message."""

from pathlib import Path
from textwrap import indent

import pytest

from relay.config.load import ConfigErrors, load_config
from tests.config.test_load import GOOD

WITH_WARMUP = GOOD + "        warmup: mine\n"


@pytest.fixture
def read(tmp_path: Path):
    """The configuration with `warmups: mine:` of this text, or the problems, as printed."""

    def read(mine: str, base: str = WITH_WARMUP, name: str = "mine"):
        file = tmp_path / "relay.yaml"
        file.write_text(base + f"warmups:\n  {name}:\n" + indent(mine, "    "))
        try:
            return load_config(file, {})
        except ConfigErrors as errors:
            return [str(problem).partition(": ")[2] for problem in errors.problems]

    return read


def test_allowances_are_written_out_or_a_curve(read):
    days = read("days: [50, '1,000', 2000/day]")
    assert days.warmups["mine"].days == (50, 1000, 2000)
    curve = read("length: 30d\ntarget: 20,000/day")
    assert (curve.warmups["mine"].length, curve.warmups["mine"].target) == (30, 20_000)
    assert curve.warmups["mine"].first == 50


def test_a_provider_has_a_curve_of_its_own(read):
    config = read("days: [50, 100]\nproviders:\n  google: {days: [5, 10]}")
    assert config.warmups["mine"].providers["google"].days == (5, 10)


@pytest.mark.parametrize(
    ("mine", "message"),
    [
        ("{}", "warmups.mine: says no allowance; allowed: days, or length and target"),
        ("days: []", "warmups.mine.days: nothing in it; allowed: at least one entry"),
        (
            "days: [50]\nlength: 3d",
            "warmups.mine.length: beside days; allowed: days, or length and target",
        ),
        ("length: 3d", "warmups.mine.target: missing; it is required"),
        (
            "length: 36h\ntarget: 100",
            "warmups.mine.length: '36h'; "
            "allowed: a number of whole days from 2d to 366d, such as 45d",
        ),
        (
            "days: [50, 40]",
            "warmups.mine.days[1]: '40' is less than before; allowed: 50 or more",
        ),
        (
            "length: 3d\nfirst: 200\ntarget: 100",
            "warmups.mine.target: '100' is less than before; allowed: 200 or more",
        ),
        (
            "days: [50/h]",
            "warmups.mine.days[0]: '50/h'; "
            "allowed: a number of recipients in 24 hours, such as 100000/day",
        ),
        (
            "days: [50]\nproviders: {google: {length: 3d}}",
            "warmups.mine.providers.google.target: missing; it is required",
        ),
    ],
)
def test_a_mistake_gives_its_exact_message(read, mine, message):
    assert read(mine) == [message]


def test_a_provider_that_nothing_defines_is_refused(read):
    (problem,) = read("days: [50]\nproviders: {gogle: {days: [5]}}")
    assert problem.startswith(
        "warmups.mine.providers.gogle: is no provider; did you mean google? allowed: "
    )
    own = "providers: {gogle: {domains: [gogle.example]}}\n"
    assert not isinstance(
        read("days: [50]\nproviders: {gogle: {days: [5]}}", own + WITH_WARMUP), list
    )


def test_a_source_names_a_schedule_that_exists(read):
    base = WITH_WARMUP.replace("warmup: mine", "warmup: standart")
    assert read("days: [50]", base) == [
        "pools.default.sources[0].warmup: no warm-up 'standart'; did you mean standard? "
        "allowed: mine, standard"
    ]


def test_the_built_in_schedule_is_not_written_anew(read):
    assert read("days: [50]", GOOD, "standard") == [
        "warmups.standard: is built in; allowed: another name"
    ]


def test_an_address_has_the_same_schedule_in_every_pool(read):
    other = "  other: {sources: [{address: 127.0.0.2, warmup: standard}]}\n"
    assert read("days: [50]", WITH_WARMUP + other) == [
        "pools.other.sources[0].warmup: another warm-up than 127.0.0.2 has in another pool; "
        "allowed: the same in all"
    ]
