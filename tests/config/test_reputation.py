"""What the section `reputation` says of mistakes."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from relay.config.load import ConfigErrors, load
from relay.config.reputation import Reputation
from tests.config.test_load import GOOD


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"bounces": {"pause": "off"}}, "a share such as 5% or 0.1%, or never"),
        ({"complaints": {"pause": "0.5"}}, "a share such as 5% or 0.1%, or never"),
        ({"complaints": {"warn": "never"}}, "a share such as 5% or 0.1%$"),
    ],
)
def test_a_mistake_is_told_with_what_is_allowed(written: object, why: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Reputation.model_validate(written)
    (error,) = refused.value.errors()
    assert re.search(why, error["msg"])


def told(tmp_path: Path, own: str = "", account: str = "") -> list[str]:
    file = tmp_path / "relay.yaml"
    text = GOOD.replace("{pool: default}", f"{{pool: default, reputation: {{{own}}}}}")
    file.write_text(f"{text}reputation: {{{account}}}\n")
    try:
        load(file, {})
    except ConfigErrors as errors:
        return [str(problem).partition(": ")[2] for problem in errors.problems]
    return []


def test_a_pause_below_the_warning_that_holds_is_a_mistake(tmp_path: Path) -> None:
    why = "bounces: pauses at 3% and warns at 5% only; allowed: a pause that is not below warn"
    assert told(tmp_path, account="bounces: {pause: 3%}") == [f"reputation.{why}"]
    (own,) = told(tmp_path, own="bounces: {pause: 3%}")
    assert own == f"configuration_sets.default.reputation.{why}"
    assert told(tmp_path, own="bounces: {pause: 3%}", account="bounces: {warn: 2%}") == []
    (of_both,) = told(tmp_path, own="bounces: {warn: 7%}", account="bounces: {pause: 6%}")
    assert "pauses at 6% and warns at 7% only" in of_both


def test_a_volume_below_the_minimum_by_which_few_would_be_judged_is_a_mistake(
    tmp_path: Path,
) -> None:
    (why,) = told(tmp_path, own="volume: 500")
    assert "volume is 500, and complaints are judged from 1000 recipients on" in why
    assert told(tmp_path, own="volume: 500", account="complaints: {minimum: 100}") == []


def test_what_a_type_refuses_is_told_once(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, account="volume: none, bounces: {minimum: 100}")
    assert "reputation.volume" in problem
