"""Rules of reaction that the configuration names: what they agree with, and which make no sense."""

from pathlib import Path

import pytest

from relay.config.load import ConfigErrors, load_config
from relay.config.model import Config
from relay.config.reactions import ReactionRule
from relay.feedback.reactions import Rule, Rules
from tests.feedback.real_replies import said


def rule(**keys: object) -> Rule:
    return Rule.of(ReactionRule.model_validate({"name": "x", **keys}), "configuration")


@pytest.mark.parametrize(
    ("keys", "reply", "agrees"),
    [
        ({"code": "421"}, "421 no", True),
        ({"code": "421"}, "422 no", False),
        ({"code": "42x"}, "422 no", True),
        ({"code": ["450", "5xx"]}, "554 no", True),
        ({"enhanced": "4.7.*"}, "421 4.7.28 no", True),
        ({"enhanced": "4.7.2"}, "421 4.7.28 no", False),
        ({"enhanced": "4.7.*"}, "421 no", False),
        ({"enhanced": "4.*"}, "421 4.1.1 no", True),
        ({"text": "TRY later"}, "421 please try LATER", True),
        ({"text": ["one", "two"]}, "421 the two", True),
        ({"code": "421", "text": "try"}, "450 try", False),
        ({"phase": "greeting"}, "421 no", False),
        ({"phase": ["greeting", "mail"]}, "421 no", True),
        ({"code": "4xx", "provider": "acme"}, "421 no", True),
        ({"code": "4xx", "provider": "other"}, "421 no", False),
    ],
)
def test_a_rule_agrees_where_all_that_it_names_holds(
    keys: dict[str, object], reply: str, agrees: bool
) -> None:
    rules = Rules([rule(action="pause", **keys)])
    assert (rules.find(said(reply), "mail", "acme") is not None) is agrees


def test_rules_of_the_configuration_come_first() -> None:
    custom = ReactionRule(name="mine", code=("4xx",), text=("TSS04",), action="nothing")
    config = Config.model_construct(reactions=(custom,))
    found = Rules.of(config).find(said("421 4.7.0 [TSS04] Messages from 192.0.2.25"), "mail", "")
    assert found is not None
    assert (found.name, found.origin) == ("mine", "configuration")


@pytest.mark.parametrize(
    ("action", "keys", "tries_again"),
    [
        ("other_source", {}, True),
        ("pause", {}, True),
        ("slow_down", {"try_again": False}, False),
        ("retry_later", {}, True),
        ("bounce", {}, False),
        ("nothing", {}, False),
    ],
)
def test_what_is_refused_for_the_source_gives_no_message_up(
    action: str, keys: dict[str, object], tries_again: bool
) -> None:
    assert rule(code="5xx", action=action, **keys).tries_again is tries_again


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ("code: 421, action: sleep", "slow_down"),
        ("code: 621, action: pause", "a reply code such as 421, 45x or 4xx"),
        ("enhanced: 2.7.1, action: pause", "an enhanced code such as 4.7.28, 4.7.* or 4.*"),
        ("text: '(a+)+', action: pause", "searched in short time"),
        ("provider: google, action: pause", "at least one of code, enhanced, text, phase"),
        ("code: 421, provider: goggle, action: pause", "did you mean google"),
        ("code: 421, provider: [google, acme], action: pause", "no provider 'acme'"),
        ("code: 421, action: bounce, duration: 5m", "no duration with bounce"),
        ("code: 421, action: pause, duration: 30d", "a time from 1s to 7d"),
        ("code: 421, action: pause, after: often", "a number in a time, as 3 in 5m"),
        ("code: 421, action: bounce, after: 3 in 5m", "`after` with"),
        ("code: 421, action: bounce, try_again: true", "`try_again` with"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_what_is_allowed(
    keys: str, problem: str, tmp_path: Path
) -> None:
    file = tmp_path / "relay.yaml"
    file.write_text(f"hostname: relay.test\nreactions:\n- {{name: x, {keys}}}\n")
    with pytest.raises(ConfigErrors) as raised:
        load_config(file, {})
    told = [str(one) for one in raised.value.problems if one.key.startswith("reactions")]
    assert len(told) == 1
    assert problem in told[0]
    assert ":3:" in told[0]


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "relay.yaml"
    line = "- {name: x, code: 421, action: pause}\n"
    file.write_text(f"hostname: relay.test\nreactions:\n{line}{line}")
    with pytest.raises(ConfigErrors, match="'x' is used twice"):
        load_config(file, {})
