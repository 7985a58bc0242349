"""`relay serve`: from a configuration file to an exit code.

Problems of the configuration are told all at once before anything is opened. Exit codes: 0 after a
graceful end, 1 where the relay could not start or did not end well.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from relay.config.load import load
from relay.config.machine import check_machine
from relay.config.model import Config
from relay.config.problems import ConfigErrors
from relay.observe.logging import Logger, make_logger
from relay.runtime.notify import notify, watchdog_interval
from relay.runtime.relay import Relay, StartError


def serve(path: Path) -> int:
    """Run the relay until a signal ends it; returns the exit code of the process."""
    os.umask(0o077)
    try:
        config = _configuration(path)
    except ConfigErrors as errors:
        print(f"relay: {errors}", file=sys.stderr)
        return 1
    log = make_logger(config.logging.format, config.logging.level)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_run(path, config, log))
    except StartError as error:
        log.error("relay could not start", reason=str(error))
        return 1


def _configuration(path: Path) -> Config:
    loaded = load(path)
    for problem in check_machine(loaded.config, loaded.document):
        print(problem, file=sys.stderr)
    return loaded.config


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed, plain asyncio otherwise (or with RELAY_LOOP=asyncio)."""
    if os.environ.get("RELAY_LOOP", "uvloop") == "uvloop":
        with contextlib.suppress(ImportError):
            import uvloop  # noqa: PLC0415 - an optional dependency

            return uvloop.new_event_loop
    return asyncio.new_event_loop


async def _run(path: Path, config: Config, log: Logger) -> int:
    relay = Relay(path, config, log)
    stop, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[object]] = set()

    def reload() -> None:
        task = loop.create_task(relay.reload(), name="reload")
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    def end() -> None:
        """The first signal ends gracefully, a second one at once."""
        (ended if stop.is_set() else stop).set()

    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # nothing to reload before the start
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    await relay.start()
    loop.add_signal_handler(signal.SIGHUP, reload)
    watchdog = loop.create_task(_watchdog(relay), name="watchdog")
    try:
        notify("READY=1", f"MAINPID={os.getpid()}", "STATUS=relaying")
        failure = await relay.run_until(stop)
        notify("STOPPING=1", "STATUS=draining")
        finishing = loop.create_task(relay.stop(), name="stop")
        hurry = loop.create_task(ended.wait())
        await asyncio.wait({finishing, hurry}, return_when=asyncio.FIRST_COMPLETED)
        hurry.cancel()
        if not finishing.done():
            log.warning("second signal: ending at once; what is unfinished stays in the queue")
            finishing.cancel()
        await asyncio.gather(finishing, return_exceptions=True)
        return 1 if failure else 0
    finally:
        watchdog.cancel()


async def _watchdog(relay: Relay) -> None:
    """Tell systemd that the loop turns and the relay is alive, while both are true."""
    interval = watchdog_interval()
    while interval is not None:
        if relay.liveness().ok:
            notify("WATCHDOG=1")
        await asyncio.sleep(interval)
