"""What the section `reputation` says of mistakes."""

import re

import pytest
from pydantic import ValidationError

from relay.config.reputation import Reputation


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"bounces": {"pause": "3%"}}, r"not below warn, which is 5% \(pause is 3%\)"),
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
