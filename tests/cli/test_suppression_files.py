from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.cli.suppression_files import (
    BadLine,
    Defaults,
    csv_lines,
    format_of,
    json_lines,
    read_entries,
    ses_lines,
)
from relay.store.values import SuppressionEntry

NOW = 1_795_550_000_000
DEFAULTS = Defaults("manual", NOW, "ann")


def read(text, form="csv"):
    return list(read_entries(text.splitlines(), form, DEFAULTS))


def addresses(text, form="csv"):
    return [(found.address, found.reason) for found in read(text, form)]


def test_two_columns_without_a_heading_are_address_and_reason():
    assert addresses("a@one.test,bounce\nb@one.test\n") == [
        ("a@one.test", "bounce"),
        ("b@one.test", "manual"),
    ]


def test_a_heading_names_the_columns_in_any_order():
    assert addresses("Reason,Address\nCOMPLAINT,a@one.test\n") == [("a@one.test", "complaint")]


def test_what_ses_exports_is_read():
    (entry,) = read("EmailAddress,Reason,LastUpdateTime\na@one.test,BOUNCE,2024-05-01T10:00:00Z\n")
    assert entry.reason == "bounce"
    assert entry.created_at == 1_714_557_600_000


def test_what_ses_imports_is_read():
    (entry,) = read('{"emailAddress": "a@one.test", "reason": "COMPLAINT"}', "json")
    assert (entry.address, entry.reason, entry.source) == ("a@one.test", "complaint", "import")
    assert addresses("A@one.test,BOUNCE") == [("A@one.test", "bounce")]


def test_what_is_written_for_ses_is_what_it_imports():
    found = [
        SuppressionEntry("A@one.test", "complaint", "complaint", NOW),
        SuppressionEntry("b@one.test", "manual", "operator", NOW),
    ]
    assert list(ses_lines(found, "ses-csv")) == ["A@one.test,COMPLAINT\n", "b@one.test,BOUNCE\n"]
    assert next(iter(ses_lines(found, "ses-json"))) == (
        '{"emailAddress":"A@one.test","reason":"COMPLAINT"}\n'
    )


def test_empty_lines_and_comments_are_passed_over():
    assert addresses("# ours\n\na@one.test\n   \n") == [("a@one.test", "manual")]


def test_json_lines_are_read_with_or_without_the_other_fields():
    text = '{"address": "a@one.test", "reason": "bounce", "evidence": "550", "expires_at": null}'
    (entry,) = read(text, "json")
    assert entry == SuppressionEntry("a@one.test", "bounce", "import", NOW, "550", by="ann")


@pytest.mark.parametrize(
    ("line", "form", "why"),
    [
        ("a@one.test,bounce,more", "csv", "has 3 fields"),
        ('"a@one.test', "csv", "is not CSV"),
        (",bounce", "csv", "has no address"),
        ("[1]", "json", "is not a JSON object"),
        ("{", "json", "is not JSON"),
        ("[" * 9_000, "json", "is not JSON"),
        ('{"address": "a@one.test", "created_at": "yesterday"}', "json", "the time 'yesterday'"),
        ('{"address": "a@one.test", "created_at": 99999999999999999}', "json", "the time"),
        ('{"address": "a@one.test", "bounces": -1}', "json", "the count of bounces '-1'"),
        ("a" * 10_001, "csv", "has more than 10000 characters"),
    ],
)
def test_a_line_that_cannot_be_taken_says_why(line, form, why):
    (bad,) = read(line, form)
    assert isinstance(bad, BadLine)
    assert bad.line == 1
    assert why in bad.problem


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00", "9" * 17]
)
def test_a_time_that_could_not_be_shown_again_is_not_taken(time):
    (bad,) = read(f'{{"address": "a@one.test", "expires_at": "{time}"}}', "json")
    assert isinstance(bad, BadLine)


@pytest.mark.parametrize("note", [r"\ud800 caf\u00e9", "\udce9 café"])
def test_a_text_that_is_not_utf_8_is_taken_with_marks_in_its_place(note):
    (entry,) = read(f'{{"address": "a@one.test", "evidence": "{note}", "note": "{note}"}}', "json")
    assert (entry.evidence, entry.note) == ("? café", "? café")


def test_a_time_in_the_future_is_taken_as_now():
    (entry,) = read('{"address": "a@one.test", "created_at": "2999-01-01"}', "json")
    assert entry.created_at == NOW


@pytest.mark.parametrize(
    ("name", "first", "form"),
    [
        ("list.csv", "{", "csv"),
        ("list.JSONL", "a@b.test", "json"),
        ("-", '{"address"', "json"),
        ("-", "a@b.test", "csv"),
    ],
)
def test_the_format_is_known_by_name_or_by_the_first_line(name, first, form):
    assert format_of(name, first) == form


entries = st.builds(
    SuppressionEntry,
    address=st.from_regex(r"[a-z0-9]{1,20}(\.[a-z0-9]{1,5})?@[a-z]{1,10}\.test", fullmatch=True),
    reason=st.sampled_from(["bounce", "complaint", "manual"]),
    source=st.sampled_from(["bounce", "complaint", "operator", "import"]),
    created_at=st.integers(0, NOW),
    evidence=st.text(max_size=200),
    expires_at=st.none() | st.integers(0, 2 * NOW),
    message_id=st.from_regex(r"[0-9a-f-]{0,60}", fullmatch=True),
    remote_host=st.from_regex(r"[a-z.]{0,20}", fullmatch=True),
    seen_at=st.integers(0, NOW),
    by=st.from_regex(r"[a-z]{1,20}", fullmatch=True),
    note=st.text(max_size=100),
    bounces=st.integers(0, 999_999),
)


@given(st.lists(entries))
def test_json_lines_lose_nothing(found):
    assert list(read_entries(json_lines(found), "json", DEFAULTS)) == found


@given(st.lists(entries))
def test_csv_keeps_one_line_for_each_entry_and_all_but_line_ends_in_evidence(found):
    lines = list(csv_lines(found))
    assert len(lines) == len(found) + 1
    read_back = list(read_entries(lines, "csv", DEFAULTS))
    told = [replace(entry, evidence="", note="") for entry in found]
    assert [replace(entry, evidence="", note="") for entry in read_back] == told


@given(st.text(), st.sampled_from(["csv", "json"]))
def test_no_text_whatever_stops_the_reader(text, form):
    for found in read_entries(text.split("\n"), form, DEFAULTS):
        assert isinstance(found, SuppressionEntry | BadLine)
