"""A process that has joined a store: it accepts and delivers beside others, and says what it did.

Run as `python -m tests.store.sharing DATA_DIR NAME COUNT`. It stores COUNT messages, every other
one unclaimed, so that any process may deliver it, and settles what it has claimed until the queue
holds nothing more. With `hold` for COUNT it stores claimed messages and settles none, until it is
killed.
"""

import asyncio
import sys
from pathlib import Path

from relay.observe.logging import make_logger
from relay.store.interface import Store
from relay.store.sqlite import SqliteStore
from relay.store.values import Delivery, Owner, QueueFilter, Settlement
from tests.contract.making import LEASE, NOW, make_new, write_body

PRODUCERS = 4


async def settle(store: Store, owner: Owner, deliveries: list[Delivery]) -> None:
    for delivery in deliveries:
        if await store.settle(owner, Settlement(delivery)):
            print(f"settled {delivery.message.id}", flush=True)


async def share(store: Store, owner: Owner, count: int) -> None:
    async def produce(producer: int) -> None:
        for number in range(producer, count, PRODUCERS):
            name = f"{owner.name}-{number}"
            body = await write_body(store, b"x" * 3_000) if number % 5 == 0 else None
            claimant = owner if number % 2 else None
            accepted = await store.insert(make_new(body=body, id=name), claimant)
            print(f"stored {name}", flush=True)
            await settle(store, owner, [one for one in accepted.deliveries if one.epoch])
            await settle(store, owner, await store.claim(owner, NOW, 3))

    await asyncio.gather(*(produce(number) for number in range(PRODUCERS)))
    while await store.queue(QueueFilter()):
        await settle(store, owner, await store.claim(owner, NOW, 3))


async def hold(store: Store, owner: Owner) -> None:
    async def produce(producer: int) -> None:
        for number in range(1_000_000):
            name = f"{owner.name}-{producer}-{number}"
            await store.insert(make_new(id=name), owner)
            print(f"stored {name}", flush=True)

    await asyncio.gather(*(produce(number) for number in range(PRODUCERS)))


async def main(data_dir: Path, name: str, count: str) -> None:
    store = SqliteStore(data_dir, inline_size=1_000, log=make_logger(level="error"))
    await store.open(joining=True)
    owner = await store.register(name, LEASE)
    print(f"epoch {owner.epoch}", flush=True)
    if count == "hold":
        await hold(store, owner)
    else:
        await share(store, owner, int(count))
    await store.resign(owner)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
