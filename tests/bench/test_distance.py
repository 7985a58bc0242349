"""The proxy that stands for distance."""

import asyncio

from bench.distance import Delay
from bench.simulation.clock import run, virtual_loop


def test_octets_arrive_after_the_delay_and_in_their_order() -> None:
    async def play() -> list[tuple[float, bytes | None]]:
        loop = virtual_loop()
        arrived: list[tuple[float, bytes | None]] = []
        delay = Delay(0.025, lambda data: arrived.append((round(loop.time(), 3), data)))
        delay.put(b"one")
        delay.put(b"two")
        await asyncio.sleep(0.010)
        delay.put(b"three")
        delay.put(None)
        await asyncio.sleep(1.0)
        return arrived

    assert run(play()) == [(0.025, b"one"), (0.025, b"two"), (0.035, b"three"), (0.035, None)]
