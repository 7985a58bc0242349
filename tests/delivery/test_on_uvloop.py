"""What touches the event loop closely works on uvloop as it does on asyncio's own loop."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from tests.delivery import test_connections, test_dialogue, test_keeping, test_tls_policies
from tests.delivery.conftest import Authority
from tests.delivery.receiver import OFFERED

Case = Callable[[Path, Authority], Awaitable[None]]

_CASES: dict[str, Case] = {
    "tls": lambda path, authority: test_tls_policies.test_mail_goes_under_tls_where_it_is_offered(
        path, authority, "verify"
    ),
    "implicit tls": test_tls_policies.test_implicit_tls_speaks_tls_from_the_first_octet,
    "broken tls": lambda path, authority: (
        test_tls_policies.test_broken_starttls_is_gone_around_in_clear_text_when_opportunistic(
            path, authority, b"454 4.7.0 not now\r\n"
        )
    ),
    "large body": lambda path, _: test_dialogue.test_a_large_body_arrives_octet_for_octet(path),
    "flow control": lambda path, _: (
        test_dialogue.test_a_peer_that_stops_reading_is_given_up_after_one_block(path)
    ),
    "silence": lambda path, _: test_dialogue.test_a_silent_peer_is_given_up_after_its_time(
        path, "end", OFFERED
    ),
    "lost source": lambda path, _: (
        test_connections.test_a_source_that_this_host_lost_is_passed_over_for_one_of_the_same_pool(
            path
        )
    ),
    "idle": lambda path, _: (
        test_connections.test_a_connection_is_kept_for_the_next_message_and_closed_with_quit_when_idle(
            path
        )
    ),
    "drain": lambda path, _: test_keeping.test_a_peer_that_never_answers_does_not_hold_up_the_end(
        path, 0.2
    ),
}


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_on_uvloop(case: Case, tmp_path: Path, authority: Authority) -> None:
    async def run() -> None:
        await case(tmp_path, authority)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
