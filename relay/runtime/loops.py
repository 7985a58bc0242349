"""The event loop that every process of the relay runs on."""

import asyncio
import contextlib
import os


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed, plain asyncio otherwise (or with RELAY_LOOP=asyncio)."""
    if os.environ.get("RELAY_LOOP", "uvloop") == "uvloop":
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: PLC0415 - an optional dependency

            return uvloop.new_event_loop()
    return asyncio.new_event_loop()
