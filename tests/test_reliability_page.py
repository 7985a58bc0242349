"""docs/reliability.md names tests that exist, for each requirement or none of it."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text()
ROW = re.compile(r"^\| ([A-D]\d+) \| ([^|]+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+)|: case \"([^\"]+)\")`")
ROWS = ROW.findall(PAGE)
EXPECTED = [
    f"{s}{n}" for s, last in zip("ABCD", (16, 19, 7, 15), strict=True) for n in range(1, last + 1)
]


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text())


def names_of(path: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def cases_of(path: str) -> set[str]:
    """The first words of what makes a case: `Case`, or a function that makes one."""
    return {
        node.args[0].value
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("Case", "_mail", "_rcpt")
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def test_every_requirement_has_its_row() -> None:
    assert [row[0] for row in ROWS] == EXPECTED


@pytest.mark.parametrize(("number", "does", "shown"), [(r[0], r[2], r[3]) for r in ROWS])
def test_what_is_named_exists(number: str, does: str, shown: str) -> None:
    named = NAMED.findall(shown)
    if not named:
        assert shown == "none"
        assert "not built yet" in does, f"{number} is shown by nothing"
    assert not NAMED.sub("", shown).strip(" ,").replace("none", ""), "more than names of tests"
    for path, test, case in named:
        if case:
            assert case in cases_of(path), f"{path} has no case {case!r}"
        else:
            assert test.startswith("test_")
            assert test in names_of(path), f"{path} has no {test}"
