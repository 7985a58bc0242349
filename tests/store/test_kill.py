"""kill -9 at any moment: what was acknowledged is there, whole, and nothing else stays behind."""

import asyncio
import random
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from relay.store.values import Owner, QueueFilter
from tests.contract.making import LEASE, NOW, SqliteKind, read

ROOT = Path(__file__).parents[2]
KILLS = 30


async def accept_until_killed(data_dir: Path, prefix: str, lines: int) -> tuple[set[str], set[str]]:
    """Kill the accepting process after so many lines; what it had stored, and begun to settle."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.store.accepting", str(data_dir), prefix,
        cwd=ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    output: list[str] = []
    while line := await process.stdout.readline():
        output.append(line.decode())
        if len(output) == lines:
            with suppress(ProcessLookupError):
                process.kill()
    await process.wait()
    assert len(output) >= lines
    # The last line may be torn: what was not said whole was not acknowledged.
    words = [line.split() for line in output if line.endswith("\n")]
    stored = {word[1] for word in words if word[0] == "stored"}
    return stored, {word[1] for word in words if word[0] == "settling"}


@pytest.mark.fault
async def test_every_acknowledged_message_survives_a_kill(kind: SqliteKind) -> None:
    rng = random.Random(20_261_124)
    expected: set[str] = set()
    perhaps: set[str] = set()
    for kill in range(KILLS):
        stored, settling = await accept_until_killed(
            kind.data_dir, f"k{kill}", rng.randrange(1, 400)
        )
        expected |= stored - settling
        perhaps |= settling
    store = await kind.open()
    owner: Owner = await store.register("accepting", LEASE)
    claimed = await store.claim(owner, NOW, 1_000_000)
    found = {delivery.message.id for delivery in claimed}
    assert expected <= found
    # Beyond them: what was about to be settled, and inserts whose answer the kill cut off.
    assert len(found - expected - perhaps) <= KILLS * 8
    for delivery in claimed:
        assert len(await read(store, delivery)) == delivery.message.body.size
    assert kind.errors == []
    assert await store.queue(QueueFilter(state="quarantined")) == []
