"""Rules of the configuration: asked first, believed, and refused where they make no sense."""

import re
import time
from pathlib import Path
from typing import Any

import pytest

from bench.classify import corpus
from relay.config.bounces import BounceRule, Bounces
from relay.config.crosscheck import cross_check
from relay.config.document import parse_document
from relay.config.problems import ConfigErrors
from relay.config.section import Section
from relay.config.shipped import shipped_bounces
from relay.config.validation import validate_part
from relay.feedback.classify import Classifier, shipped_classifier
from relay.feedback.conditions import Conditions, alternatives
from relay.feedback.outcome import Bounce, Phase
from relay.mail.enhanced import split_reply
from relay.mail.replies import Reply

BOB = "bob@example.org"


class Part(Section):
    bounces: Bounces = Bounces()


def classifier(*rules: dict[str, Any]) -> Classifier:
    return Classifier.of(Bounces(rules=[BounceRule.model_validate(rule) for rule in rules]))


def of(rules: Classifier, code: int, text: str, phase: Phase = "rcpt", provider: str = "") -> Any:
    return rules.classify(split_reply(code, text), phase, BOB, provider)


def test_without_rules_of_its_own_a_configuration_has_the_shipped_ones() -> None:
    assert Classifier.of(Bounces()) is shipped_classifier()


def test_a_rule_of_the_configuration_is_asked_before_the_shipped_ones() -> None:
    rules = classifier({"name": "ours", "text": "user unknown", "category": "policy"})
    found = of(rules, 550, "5.1.1 user unknown")
    assert (found.rule, found.outcome, found.hard_bounce) == ("ours", "policy", False)
    assert of(rules, 550, "5.1.1 no such user").outcome == "mailbox_unknown"


@pytest.mark.parametrize(
    ("condition", "code", "text", "phase", "provider"),
    [
        ({"code": "55x"}, 550, "flurb", "rcpt", ""),
        ({"code": ["4xx", "554"]}, 554, "flurb", "rcpt", ""),
        ({"enhanced": "5.9.*"}, 550, "5.9.17 flurb", "rcpt", ""),
        ({"enhanced": "5.9.9"}, 550, "5.9.9 flurb", "rcpt", ""),
        ({"text": "FLURB"}, 550, "a flurb", "rcpt", ""),
        ({"text": ["wibble", r"fl\wrb\b"]}, 550, "a flurb", "rcpt", ""),
        ({"phase": "final"}, 550, "flurb", "final", ""),
        ({"provider": ["google", "yahoo"]}, 550, "flurb", "rcpt", "yahoo"),
        ({"text": "flurb", "unless": "gently"}, 550, "flurb", "rcpt", ""),
    ],
)
def test_a_condition_that_holds_meets_the_rule(
    condition: dict[str, Any], code: int, text: str, phase: Phase, provider: str
) -> None:
    rules = classifier({"name": "ours", "category": "policy", **condition})
    assert of(rules, code, text, phase, provider).rule == "ours"


@pytest.mark.parametrize(
    ("condition", "code", "text", "phase", "provider"),
    [
        ({"code": "45x"}, 550, "flurb", "rcpt", ""),
        ({"enhanced": "5.9.*"}, 550, "5.8.9 flurb", "rcpt", ""),
        ({"enhanced": "5.9.1"}, 550, "5.9.17 flurb", "rcpt", ""),
        ({"enhanced": "5.9.1"}, 550, "flurb", "rcpt", ""),
        ({"text": "wibble"}, 550, "a flurb", "rcpt", ""),
        ({"text": "flurb"}, 550, "no <flurb@example.org>", "rcpt", ""),
        ({"phase": "final"}, 550, "flurb", "rcpt", ""),
        ({"provider": "google"}, 550, "flurb", "rcpt", ""),
        ({"text": "flurb", "unless": "GENTLY"}, 550, "gently flurb", "rcpt", ""),
        ({"text": "flurb", "code": "4xx"}, 550, "flurb", "rcpt", ""),
    ],
)
def test_a_condition_that_does_not_hold_passes_the_rule_by(
    condition: dict[str, Any], code: int, text: str, phase: Phase, provider: str
) -> None:
    rules = classifier({"name": "ours", "category": "policy", **condition})
    assert of(rules, code, text, phase, provider).rule != "ours"


def test_a_rule_may_say_that_a_refusal_for_now_is_one_for_good() -> None:
    gone = {"name": "gone", "code": 450, "category": "mailbox_unknown", "try_again": False}
    found = of(classifier(gone), 450, "4.2.0 gone")
    assert (found.kind, found.hard_bounce) == ("bounced", False)
    dead = of(classifier({**gone, "text": "gone", "hard": True}), 450, "4.2.0 gone")
    assert (dead.hard_bounce, dead.bounce) == (True, Bounce("Permanent", "NoEmail"))


def test_a_rule_may_say_that_a_refusal_for_good_is_one_for_now() -> None:
    rules = classifier({"name": "later", "text": "wobble", "category": "other", "try_again": True})
    assert of(rules, 550, "5.0.0 wobble").kind == "deferred"


def test_a_rule_may_give_up_after_so_many_attempts() -> None:
    rules = classifier({"name": "full", "enhanced": "4.2.2", "category": "mailbox_full"} |
                       {"attempts": 3})  # fmt: skip
    assert of(rules, 452, "4.2.2 full").attempts == 3
    assert of(rules, 452, "4.2.2 full").kind == "deferred"


def test_a_rule_may_name_the_bounce() -> None:
    rules = classifier(
        {"name": "exe", "text": r"\.exe", "category": "content"}
        | {"bounce": "Transient/AttachmentRejected"}
    )
    assert of(rules, 554, "no .exe").bounce == Bounce("Transient", "AttachmentRejected")


def test_a_rule_of_the_configuration_is_not_doubted() -> None:
    text = "5.7.1 sender policy: user unknown, try later"
    assert not of(shipped_classifier(), 550, text).hard_bounce
    sure = {"name": "sure", "text": "user unknown", "category": "mailbox_unknown", "hard": True}
    assert of(classifier(sure), 550, text).hard_bounce
    assert not of(classifier(sure), 550, text, "final").hard_bounce  # of nobody in particular


def test_rules_of_the_configuration_do_not_judge_our_own_replies() -> None:
    rules = classifier({"name": "ours", "category": "spam"})
    own = Reply(451, "4.4.2", "the connection to mx.spam.test was lost")
    assert rules.classify(own, "mail").outcome == "unreachable"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("{name: a, category: spam, hard: true}", "`hard` with domain_unknown"),
        ("{name: a, category: mailbox_unknown, hard: true, try_again: true}", "no `try_again`"),
        (
            "{name: a, category: mailbox_unknown, hard: true, bounce: Transient/General}",
            "no `bounce` with `hard`",
        ),
        ("{name: a, category: mailbox_unknown, code: 5xx, hard: true}", "`enhanced` or `text`"),
        ("{name: a, category: spam, try_again: false, attempts: 3}", "no `attempts`"),
        ("{name: a, category: spom}", "did you mean spam?"),
        ("{name: a, category: spam, bounce: Permanent/General}", "Transient/General"),
        ("{name: a, category: spam, text: '(a+)+b'}", "searched in short time"),
        ("{name: a, category: spam, code: 250}", "a reply code such as"),
        ("{name: a, category: spam, attempts: 0}", "1 or more"),
        ("{name: a b, category: spam}", "allowed"),
        ("{category: spam}", "missing"),
        ("{name: a, category: spam, hart: true}", "unknown key"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_what_is_allowed(rule: str, said: str) -> None:
    document = parse_document(f"bounces:\n  rules:\n    - {rule}\n", Path("relay.yaml"))
    with pytest.raises(ConfigErrors) as error:
        validate_part(document, Part)
    (problem,) = error.value.problems
    assert said in str(problem)
    assert "relay.yaml:3" in str(problem)


def test_shipped_rules_have_names_of_their_own() -> None:
    shipped = shipped_bounces()
    names = [rule.name for rule in (*shipped.own, *shipped.rules)]
    assert len(set(names)) == len(names)
    assert all(rule.name.startswith("own-") for rule in shipped.own)


def test_no_shipped_rule_is_hidden_behind_one_without_conditions() -> None:
    unconditional = [
        rule.name for rule in shipped_classifier().rules if rule.conditions == Conditions()
    ]
    assert unconditional == []


@pytest.mark.parametrize(
    "text",
    [
        *("a" * 600, "mailbox " * 80, "user is " * 80, "1-" * 300, "a1-" * 200, "exceed " * 90),
        *("2026-01-01T" * 50, "relay " * 90, "quota of " * 60, "the recipient's " * 40),
    ],
)
def test_all_rules_together_take_a_bounded_time_for_a_hostile_text(text: str) -> None:
    start = time.perf_counter()
    of(shipped_classifier(), 550, text)
    assert time.perf_counter() - start < 0.5


def test_an_id_or_a_time_in_a_reply_makes_no_new_text_of_it() -> None:
    rules = classifier({"name": "ours", "text": "wibble", "category": "policy"})
    for number in range(50):
        text = f"wibble 007211{number:02}ae682-787e1c2ef0fsi6384.5 2026-01-01T10:11:{number:02}.1Z"
        of(rules, 550, text)
    assert rules.remembered == 1


def test_two_rules_of_one_name_are_refused() -> None:
    text = "bounces:\n  rules:\n    - {name: a, code: 550}\n    - {name: a, code: 551}\n"
    problems = [str(problem) for problem in cross_check(parse_document(text, Path("relay.yaml")))]
    assert any("relay.yaml:4" in each and "'a' is used twice" in each for each in problems)


def test_a_pattern_finds_the_same_in_lower_case_as_without_regard_to_case() -> None:
    texts = [case.reply.text for case in corpus()]
    shipped = shipped_bounces()
    for rule in shipped.rules:
        for pattern in (*rule.text, *rule.unless):
            found = alternatives([pattern])
            assert found is not None
            either = re.compile(pattern, re.IGNORECASE)
            for text in texts[::7]:
                assert (found.search(text.lower()) is None) == (either.search(text) is None)
