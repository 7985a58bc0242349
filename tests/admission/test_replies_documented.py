"""docs/replies.md tells every refusal, word for word."""

from inspect import getmembers, isfunction
from pathlib import Path
from typing import get_args

from relay.admission import refusals
from relay.admission.submission import Reason
from relay.cli.main import app
from relay.store.pauses import Pause

PAGE = (Path(__file__).parents[2] / "docs" / "replies.md").read_text("utf-8")

EXAMPLES = {
    "message_too_long": (40_000_000,),
    "header_too_long": (256_000,),
    "duplicate_header": ("From",),
    "missing_from": (),
    "no_address_in": ("From",),
    "address_not_ascii": ("From",),
    "mail_loop": (101,),
    "too_many_recipients": (100,),
    "credential_disabled": ("app",),
    "identities_unknown": (["a@example.com"],),
    "identities_not_allowed": (["a@example.com"], "app"),
    "set_unknown": ("news",),
    "set_not_allowed": ("news", "app"),
    "set_paused": ("news",),
    "stream_paused": (
        Pause(
            "set",
            "news",
            "11.22 % of the last 1,034 recipients were hard bounces (limit 10 %)",
            "relay",
            0,
        ),
    ),
    "set_missing": ("example.com", "app"),
    "rate_exceeded": (2.1, "The rate of credential app is 5/s."),
    "quota_exceeded": (1800.0, "The quota of the account is 50,000 in 24 hours."),
    "limits_unavailable": (),
}


def test_every_refusal_has_its_line_in_the_page():
    makers = {
        name: maker
        for name, maker in getmembers(refusals, isfunction)
        if not name.startswith("_") and maker.__module__ == refusals.__name__
    }
    assert set(makers) == set(EXAMPLES)
    for name, arguments in EXAMPLES.items():
        refusal = makers[name](*arguments)
        assert f"| `{refusal.reply}` | `{refusal.reason}` |" in PAGE, name


def test_every_reason_is_used():
    used = {getattr(refusals, name)(*arguments).reason for name, arguments in EXAMPLES.items()}
    assert used == set(get_args(Reason))


def test_the_order_that_resumes_a_stream_can_be_given_as_it_is_told():
    pause = Pause("credential", "app", "The lists are bad.", "ann", 0)
    text = str(refusals.stream_paused(pause).reply)
    assert "bad. An operator" in text
    order = text.partition(": relay ")[2].split()
    _, bound, _ = app.parse_args(order, exit_on_error=False, print_error=False)
    assert bound.arguments["stream"] == "credential:app"
