"""A relay that is told to end does, whatever hangs."""

import signal
import subprocess
import sys

import pytest

_ENDING = """
import asyncio, signal, sys, types
from relay.observe.logging import make_logger
from relay.runtime import main

async def hang():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass  # a part that does not let itself be ended

async def end(is_hurried):
    relay = types.SimpleNamespace(
        config=types.SimpleNamespace(shutdown=types.SimpleNamespace(grace=0.5)), stop=hang
    )
    hurry = asyncio.Event()
    if is_hurried:
        hurry.set()
    await main._stop(relay, hurry, make_logger())

main.ENDS_WITHIN_S, main._HURRIES_WITHIN_S = (600, 1) if sys.argv[1] == "hurried" else (0, 600)
asyncio.run(end(sys.argv[1] == "hurried"))
"""


@pytest.mark.parametrize("how", ["asked", "hurried"])
def test_a_relay_that_hangs_while_it_ends_is_ended_by_the_kernel(how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _ENDING, how], capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == -signal.SIGALRM, ended.stderr
