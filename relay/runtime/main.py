"""`relay serve`: from a configuration file to an exit code.

Problems of the configuration are told all at once before anything is opened. Exit codes: 0 after a
graceful end, 1 where the relay could not start or did not end well.
"""

import asyncio
import math
import os
import signal
import sys
from pathlib import Path

from relay.config.load import load
from relay.config.machine import check_machine
from relay.config.model import Config
from relay.config.problems import ConfigErrors
from relay.observe.logging import Logger, make_logger
from relay.runtime.loops import new_loop
from relay.runtime.notify import notify, watchdog_interval
from relay.runtime.supervisor import StartError, Supervisor

ENDS_WITHIN_S = 25
"""Beyond the grace period, at the most: for workers that hang, for the scribe to file what the
others have left, and for a database that is silent. Then the kernel ends what is left of the relay.
"""
_HURRIES_WITHIN_S = 10


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
        with asyncio.Runner(loop_factory=new_loop) as runner:
            return runner.run(_run(path, config, log))
    except StartError as error:
        log.error("relay could not start", reason=str(error))
        return 1


def _configuration(path: Path) -> Config:
    loaded = load(path)
    for problem in check_machine(loaded.config, loaded.document):
        print(problem, file=sys.stderr)
    return loaded.config


async def _run(path: Path, config: Config, log: Logger) -> int:
    relay = Supervisor(path, config, log)
    stop, hurry, reload = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def end() -> None:
        """The first signal ends gracefully, a second one at once."""
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    if not await _start(relay, stop, log):
        return 0
    background = [
        loop.create_task(_watchdog(relay), name="watchdog"),
        loop.create_task(_reload_when_asked(relay, reload), name="reload"),
    ]
    try:
        notify("READY=1", f"MAINPID={os.getpid()}", "STATUS=relaying")
        failure = await relay.run_until(stop)
        notify("STOPPING=1", "STATUS=draining")
        return 0 if await _stop(relay, hurry, log) and not failure else 1
    finally:
        for task in background:
            task.cancel()


async def _start(relay: Supervisor, stop: asyncio.Event, log: Logger) -> bool:
    """Start, or give up where a signal comes meanwhile; whether it runs. Raises `StartError`."""
    starting = asyncio.create_task(relay.start(), name="start")
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if starting.done():
        starting.result()
        return True
    log.warning("a signal ends the relay before it has started")
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    return False


async def _stop(relay: Supervisor, hurry: asyncio.Event, log: Logger) -> bool:
    """Stop within the grace period, or at once where `hurry` is set; whether all went well. Should
    it hang the process is ended all the same: what it held is free when its lease has run out."""
    signal.alarm(math.ceil(relay.config.shutdown.grace) + ENDS_WITHIN_S)
    stopping = asyncio.create_task(relay.stop(), name="stop")
    hurried = asyncio.create_task(hurry.wait())
    await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if not stopping.done():
        signal.alarm(_HURRIES_WITHIN_S)
        log.warning("second signal: ending at once; what is unfinished stays in the queue")
        stopping.cancel()
    [error] = await asyncio.gather(stopping, return_exceptions=True)
    if isinstance(error, Exception):
        log.error("the relay did not stop well; its queue is safe", error=repr(error))
    return not isinstance(error, Exception)


async def _reload_when_asked(relay: Supervisor, asked: asyncio.Event) -> None:
    """SIGHUP during a start or a reload is not lost: another reload follows."""
    while True:
        await asked.wait()
        asked.clear()
        await relay.reload()


async def _watchdog(relay: Supervisor) -> None:
    """Tell systemd that the loop turns and the relay is alive, while both are true."""
    interval = watchdog_interval()
    while interval is not None:
        if relay.liveness().ok:
            notify("WATCHDOG=1")
        await asyncio.sleep(interval)
