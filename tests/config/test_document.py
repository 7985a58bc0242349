"""YAML is read strictly: what is ambiguous stays text, what is dangerous is refused."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config import document as module
from relay.config.document import parse_document, read_document
from relay.config.problems import ConfigErrors

FILE = Path("relay.yaml")


def told(text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        parse_document(text, FILE)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "scalar", ["no", "on", "22:30", "010", "1e3", "2026-01-01", "1_000", "0x1F", ".inf", "yes"]
)
def test_what_yaml_1_1_would_guess_stays_text(scalar: str) -> None:
    assert parse_document(f"a: {scalar}\n{scalar}: b", FILE).data == {"a": scalar, scalar: "b"}


def test_true_false_and_null_are_what_they_say_and_quoted_they_are_text() -> None:
    text = "a: true\nb: False\nc: null\nd: ~\ne:\nf: 'true'\ng: \"\"\nh: |\n  true"

    assert parse_document(text, FILE).data == {
        "a": True, "b": False, "c": None, "d": None, "e": None, "f": "true", "g": "", "h": "true",
    }  # fmt: skip


def test_every_value_knows_its_place() -> None:
    document = parse_document("a:\n  b:\n    - c: 1\n    - {d: 2}\n", FILE)

    assert str(document.problem(("a", "b", 1, "d"), "x")) == "relay.yaml:4:11: a.b[1].d: x"
    assert str(document.problem(("a", "b", 0), "x")) == "relay.yaml:3:7: a.b[0]: x"
    assert str(document.problem(("a", "b", 0, "c"), "x", at_key=True)).startswith("relay.yaml:3:7:")
    assert str(document.problem(("a", "e", "f"), "x")) == "relay.yaml:1:1: a.e.f: x"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\na: 2",
            "relay.yaml:2:1: a: is given twice, first in line 1; allowed: each key once",
        ),
        (
            "a: {b: &x 1}\nc: 2",
            "relay.yaml:1:8: a.b: a YAML anchor or alias; "
            "allowed: plain values; quote text with & or *",
        ),
        (
            "a: !!python/object/apply:os.system [x]",
            "relay.yaml:1:4: a: a YAML tag; allowed: plain values; quote text that begins with !",
        ),
        ("? [a]\n: b", "relay.yaml:1:3: a key that is a list or a mapping; allowed: keys are text"),
        ("a: 1\n---\nb: 2", "relay.yaml:2:1: a second document; allowed: one document in a file"),
        ("", "relay.yaml:1:1: an empty file; allowed: a mapping, as in relay.example.yaml"),
        ("- a", "relay.yaml:1:1: no keys; allowed: a mapping, as in relay.example.yaml"),
        (
            "a: [1\nb: 2",
            "relay.yaml:2:2: is not YAML: while parsing a flow sequence, "
            "did not find expected ',' or ']'",
        ),
        ("a: \x07", "relay.yaml:1:4: control characters are not allowed"),
        (
            "a: b: c",
            "relay.yaml:1:5: is not YAML: mapping values are not allowed in this context",
        ),
    ],
)
def test_what_is_refused_is_told_with_its_place(text: str, message: str) -> None:
    assert told(text) == [message]


def test_a_bomb_of_aliases_is_refused_and_not_expanded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

    assert len(told("\n".join(lines))) == 12 + 9 * 11


def test_deep_nesting_is_refused() -> None:
    assert told("a: " + "[" * 100) == ["relay.yaml:1:24: a[0][0]: is nested more than 20 deep"]


def test_nesting_beyond_what_the_parser_follows_is_refused() -> None:
    assert "exceeded maximum nesting depth" in told("a: " + "[" * 100_000)[0]


def test_a_large_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILE_SIZE", 10)
    file = tmp_path / "relay.yaml"
    file.write_text("a: 12345678901234567890")

    with pytest.raises(ConfigErrors, match="is larger than 10 bytes"):
        read_document(file)


def test_bytes_that_are_not_utf_8_are_told_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_bytes("a: é\nb: ".encode() + b"\xff")

    with pytest.raises(ConfigErrors, match=r"relay.yaml:2:4: bytes that are not UTF-8"):
        read_document(file)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1")

    assert read_document(file).data == {"a": "1"}


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"#%@, \n\t?~\x00é"), max_size=60))
def test_whatever_the_file_holds_it_is_read_or_its_problems_are_told(text: str) -> None:
    try:
        document = parse_document(text, FILE)
    except ConfigErrors as error:
        problems = error.problems
    else:
        problems = ()
        assert isinstance(document.data, dict)

    assert all(problem.line and problem.column and problem.found for problem in problems)
