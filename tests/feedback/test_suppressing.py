"""What was observed of an address becomes an entry, as the configuration set will have it."""

from typing import Any

import pytest

from relay.feedback.suppressing import observed_entry
from relay.store.values import SuppressionEntry

NOW = 1_800_000_000_000
DAY = 86_400_000


def observe(policy: Any, reason: Any, **more: Any) -> SuppressionEntry | None:
    known = {"at": NOW, "message_id": "m", "diagnostic": "550 no"}
    return observed_entry(policy, reason, "a@x.test", **(known | more))


@pytest.mark.parametrize(
    ("own", "added"),
    [
        (None, {"bounce", "complaint"}),
        ([], set()),
        (["manual"], set()),
        (["complaint"], {"complaint"}),
    ],
)
def test_only_what_the_set_wants_is_added(make_policies: Any, own: Any, added: set[str]) -> None:
    sets = {"news": {"pool": "main", **({} if own is None else {"suppression": own})}}
    policy = make_policies(configuration_sets=sets).of_set("news")
    found = {reason for reason in ("bounce", "complaint") if observe(policy, reason)}
    assert found == added


def test_mail_of_a_set_that_is_gone_is_judged_as_the_account_says(make_policies: Any) -> None:
    policy = make_policies(suppression={"reasons": ["complaint"]}).of_set("gone")
    assert observe(policy, "bounce") is None
    assert observe(policy, "complaint") is not None


def test_a_bounce_expires_and_a_complaint_does_not(make_policies: Any) -> None:
    policy = make_policies(
        suppression={"expire": {"first": "2d", "most": "8d"}},
        configuration_sets={"news": {"pool": "main"}},
    ).of_set("news")
    bounce, complaint = observe(policy, "bounce"), observe(policy, "complaint")
    assert bounce is not None
    assert (bounce.expires_at, bounce.lasts_at_most) == (NOW + 2 * DAY, 8 * DAY)
    assert complaint is not None
    assert (complaint.expires_at, complaint.lasts_at_most) == (None, 0)


def test_what_a_stranger_said_is_made_harmless(make_policies: Any) -> None:
    policy = make_policies().of_set("news")
    entry = observe(
        policy, "bounce", diagnostic="550\r\n\x1b[31m" + "x" * 9_999, remote_host="\0mx"
    )
    assert entry is not None
    assert entry.evidence.isprintable()
    assert len(entry.evidence) <= 512
    assert entry.remote_host.isprintable()
