"""Secrets that stand outside the file are found, or their absence is told at the reference."""

from pathlib import Path

import pytest

from relay.config import references
from relay.config.document import parse_document
from relay.config.references import resolve_references


@pytest.fixture
def resolve(tmp_path: Path):
    def of(value: str, env: dict[str, str] | None = None):
        document = parse_document(f"a: {{password: '{value}'}}", tmp_path / "relay.yaml")
        resolved = resolve_references(document, env or {})
        told = [
            str(problem).replace(f"{tmp_path}/", "").removeprefix("relay.yaml:1:15: a.password: ")
            for problem in resolved.problems
        ]
        return told or resolved.document.at(("a", "password"))

    return of


def test_a_file_is_relative_to_the_configuration_and_loses_one_line_end(
    resolve, tmp_path: Path
) -> None:
    (tmp_path / "unix").write_bytes(b"secret\n\n")
    (tmp_path / "dos").write_bytes(b" secret \r\n")

    assert resolve("${file:unix}") == "secret\n"
    assert resolve("${file:dos}") == " secret "
    assert resolve(f"${{file:{tmp_path}/unix}}") == "secret\n"


def test_the_environment_gives_a_value_as_it_is(resolve) -> None:
    assert resolve("${env:SECRET}", {"SECRET": "no # 010\n"}) == "no # 010\n"


def test_a_text_with_a_dollar_is_a_text(resolve) -> None:
    assert resolve("$5 ${HOME} ${x:y}") == "$5 ${HOME} ${x:y}"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("${env:NONE}", "'${env:NONE}'; the environment has no NONE"),
        ("${env:EMPTY}", "'${env:EMPTY}'; it is empty"),
        ("${file:none}", "'${file:none}'; none cannot be read: No such file or directory"),
        ("${file:empty}", "'${file:empty}'; empty is empty"),
        ("${file:binary}", "'${file:binary}'; binary is not UTF-8 text"),
        ("${file:large}", "'${file:large}'; large is larger than 10 bytes"),
        (
            "x${env:A}",
            "a broken reference; a reference is the whole value: ${env:NAME} or ${file:path}",
        ),
        (
            "${env}",
            "a broken reference; a reference is the whole value: ${env:NAME} or ${file:path}",
        ),
    ],
)
def test_what_cannot_be_had_is_told(
    resolve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    monkeypatch.setattr(references, "MAX_SECRET_SIZE", 10)
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"12345678901")

    assert resolve(value, {"EMPTY": ""}) == [message]
