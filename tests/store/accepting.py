"""A process that inserts messages as fast as it can, and says on its output which are stored.

Run as `python -m tests.store.accepting DATA_DIR`, to be killed at any moment. Every third message
has a body with a file of its own; half of those that were stored are settled at once.
"""

import asyncio
import sys
from pathlib import Path

from relay.observe.logging import make_logger
from relay.store.sqlite import SqliteStore
from relay.store.values import Settlement
from tests.contract.making import make_new, write_body

PRODUCERS = 8


async def main(data_dir: Path, prefix: str) -> None:
    store = SqliteStore(data_dir, inline_size=1_000, log=make_logger(level="error"))
    await store.open()
    owner = await store.register("accepting", 30_000)
    print("started", flush=True)

    async def produce(producer: int) -> None:
        for number in range(1_000_000):
            body = await write_body(store, b"x" * 3_000) if number % 3 == 0 else None
            name = f"{prefix}-{producer}-{number}"
            accepted = await store.insert(make_new(body=body, id=name), owner)
            print(f"stored {name}", flush=True)
            if number % 2:
                print(f"settling {name}", flush=True)
                await store.settle(owner, Settlement(accepted.deliveries[0]))

    await asyncio.gather(*(produce(number) for number in range(PRODUCERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
