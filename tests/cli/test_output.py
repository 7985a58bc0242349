import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.output import moment, octets, plural, print_table, shown, span, until


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (59.6, "1m"),
        (61, "1m 1s"),
        (3600, "1h"),
        (3605, "1h"),
        (90_000, "1d 1h"),
        (400 * 86_400, "400d"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds, text):
    assert span(seconds) == text


def test_moments_are_utc_and_zero_is_nothing():
    assert moment(1_795_550_039_076) == "2026-11-24 19:53:59Z"
    assert moment(0) == ""


def test_what_is_due_is_now():
    assert until(5_000, 5_000) == "now"
    assert until(65_000, 5_000) == "in 1m"


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (40_100_000, "40.1 MB")]
)
def test_sizes_are_for_people(size, text):
    assert octets(size) == text


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "entry", "1 entry"),
        (2, "entry", "2 entries"),
        (0, "DKIM key", "0 DKIM keys"),
        (1_000, "address", "1,000 addresses"),
    ],
)
def test_plurals(count, noun, text):
    assert plural(count, noun) == text


@given(st.text())
def test_what_is_shown_is_printable_whatever_it_was(text):
    assert shown(text).isprintable()


@given(st.text(), st.text())
def test_a_table_takes_any_text_as_text(one, other):
    print_table(("one", "[bold]"), [(one, other)])


def test_markup_in_a_cell_is_not_obeyed(capsys):
    print_table(("reply",), [("[bold]550[/bold] no",)])
    assert "[bold]550[/bold] no" in capsys.readouterr().out
