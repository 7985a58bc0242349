"""For whom the suppression list holds, and what enters it."""

import pytest
from pydantic import ValidationError

from relay.config.suppression import Expiry, Suppression, reasons_added, reasons_checked

BOTH = Suppression()
COMPLAINTS = Suppression(reasons=("complaint",))
NOTHING = Suppression(reasons=())


@pytest.mark.parametrize(
    ("own", "account", "checked", "added"),
    [
        (None, BOTH, ("bounce", "complaint", "manual"), ("bounce", "complaint")),
        (None, COMPLAINTS, ("complaint", "manual"), ("complaint",)),
        (None, NOTHING, ("manual",), ()),
        ((), BOTH, (), ()),
        (
            ("complaint", "bounce"),
            NOTHING,
            ("bounce", "complaint", "manual"),
            ("bounce", "complaint"),
        ),
        (("bounce", "bounce"), BOTH, ("bounce", "manual"), ("bounce",)),
        (("manual",), BOTH, ("manual",), ()),
        (
            ("bounce", "complaint", "manual"),
            NOTHING,
            ("bounce", "complaint", "manual"),
            ("bounce", "complaint"),
        ),
    ],
)
def test_a_set_inherits_has_none_or_has_its_own(own, account, checked, added):
    assert reasons_checked(own, account) == checked
    assert reasons_added(own, account) == added


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"add_hard_bounces": False}, "reasons: [complaint]"),
        ({"expire_after": "30d"}, "expire: {first: 30d, most: 30d}"),
    ],
)
def test_a_key_of_earlier_versions_is_refused_with_the_words_of_today(old, new):
    (key,) = old
    with pytest.raises(
        ValidationError, match=f"in the place of {key}, which is no key any more"
    ) as refused:
        Suppression.model_validate(old)
    assert new in str(refused.value)


def test_manual_is_not_a_reason_of_the_account():
    with pytest.raises(ValidationError, match="reasons"):
        Suppression.model_validate({"reasons": ["manual"]})


def test_an_expiry_grows_from_a_day_to_two_weeks():
    assert Expiry() == Expiry.model_validate({"first": "1d", "most": "14d"})


@pytest.mark.parametrize(
    "expiry",
    [{"first": "3d", "most": "2d"}, {"first": "1s"}, {"most": "20000d"}, {"first": 5}],
)
def test_an_expiry_that_makes_no_sense_is_refused(expiry):
    with pytest.raises(ValidationError):
        Suppression.model_validate({"expire": expiry})
