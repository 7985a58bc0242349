"""Admin servers over a `FakeRelay`, in this process, on real sockets."""

import asyncio
import io
import threading
from contextlib import asynccontextmanager, contextmanager

from prometheus_client import CollectorRegistry

from relay.admin.app import control_app, public_app
from relay.admin.server import AdminServer, listen_control, listen_tcp
from relay.observe.logging import make_logger
from relay.observe.metrics import Metrics
from tests.admin.fake_relay import FakeRelay
from tests.admin.stored import operations_over


@asynccontextmanager
async def control_server(relay, data_dir):
    """The control socket of a relay, and what it logs."""
    logged = io.StringIO()
    server = AdminServer(control_app(relay, make_logger(stream=logged)), listen_control(data_dir))
    await server.start()
    try:
        yield logged
    finally:
        await server.stop()


@asynccontextmanager
async def public_server(relay, metrics=None, **more):
    """Metrics and health of a relay on TCP; gives `host:port`."""
    registry = (metrics or Metrics()).registry

    async def gather() -> CollectorRegistry:
        return registry

    app = public_app(relay, gather, make_logger(stream=io.StringIO()))
    server = AdminServer(app, listen_tcp("127.0.0.1", 0), **more)
    await server.start()
    try:
        yield server.address
    finally:
        await server.stop()


@contextmanager
def relay_in_a_thread(data_dir):
    """A relay with a store in `data_dir`, behind its control socket, while a test is synchronous.

    Gives the `FakeRelay` and a function that runs a coroutine on the relay's loop.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay")
    thread.start()

    def run(coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(30)

    ended = None

    async def live(started):
        async with operations_over(data_dir) as operations:
            relay = FakeRelay(operations)
            async with control_server(relay, data_dir):
                started.set_result(relay)
                await ended.wait()

    async def begin():
        nonlocal ended
        ended = asyncio.Event()
        started = loop.create_future()
        life = loop.create_task(live(started))
        await asyncio.wait({started, life}, return_when=asyncio.FIRST_COMPLETED)
        if life.done():
            await life
        return started.result(), life

    async def end(life):
        ended.set()
        await life
        await loop.shutdown_default_executor()

    try:
        relay, life = run(begin())
        try:
            yield relay, run
        finally:
            run(end(life))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
