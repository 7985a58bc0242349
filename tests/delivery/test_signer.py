"""Signing on the loop: few signatures in a turn of it, slow keys in a thread."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from relay.delivery.signer import IN_A_TURN, Signer
from relay.signing.keys import KeyRing, SigningKey
from relay.signing.make import make_private_key
from tests.delivery.outgoing import make_message

_MESSAGE = make_message("b@example.test")
_QUICK = SigningKey("sender.test", "s", make_private_key("ed25519"))
_SLOW = SigningKey("sender.test", "s", generate_private_key(65537, 3072))
_Made = Callable[..., Signer]


class Ring(KeyRing):
    """Has the same keys for everybody."""

    def __init__(self, *keys: SigningKey) -> None:
        self._all = keys

    def keys_for(self, identity: str, from_domain: str) -> tuple[SigningKey, ...]:
        return self._all


@pytest_asyncio.fixture
async def made() -> AsyncIterator[_Made]:
    """Makes signers that are closed afterwards."""
    signers: list[Signer] = []

    def make(sign: Any, *keys: SigningKey) -> Signer:
        signers.append(Signer(Ring(*keys), sign))
        return signers[-1]

    yield make
    for signer in signers:
        signer.close()


async def test_whoever_else_waits_for_the_loop_waits_for_two_signatures_at_most(
    made: _Made,
) -> None:
    events: list[str] = []

    def sign(*_: Any) -> bytes:
        events.append("signature")
        return b""

    def turn(left: int) -> None:
        events.append("turn")
        if left:
            asyncio.get_running_loop().call_soon(turn, left - 1)

    signer = made(sign, _QUICK)
    asyncio.get_running_loop().call_soon(turn, 20)
    await asyncio.gather(*(signer.signature(_MESSAGE, 0) for _ in range(7)))
    together = "".join(event[0] for event in events)
    assert together.count("s") == 7
    assert "s" * (IN_A_TURN + 1) not in together


async def test_signatures_are_made_in_the_order_in_which_they_were_asked_for(made: _Made) -> None:
    signed: list[int] = []

    def sign(header: bytes, body: Any, keys: Sequence[SigningKey], now: int) -> bytes:
        signed.append(now)
        return b""

    signer = made(sign, _QUICK)
    await asyncio.gather(*(signer.signature(_MESSAGE, number) for number in range(10)))
    assert signed == list(range(10))


async def test_who_goes_away_while_he_waits_keeps_nobody_from_his_signature(made: _Made) -> None:
    signer = made(lambda *_: b"signed", _QUICK)
    tasks = [asyncio.create_task(signer.signature(_MESSAGE, 0)) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert (found[0], found[3]) == (b"signed", b"signed")
    assert await signer.signature(_MESSAGE, 0) == b"signed"


async def test_a_slow_key_does_not_hold_the_loop_up(made: _Made) -> None:
    threads: list[threading.Thread] = []
    signer = made(lambda *_: threads.append(threading.current_thread()) or b"", _QUICK, _SLOW)
    await signer.signature(_MESSAGE, 0)
    assert threads[0] is not threading.main_thread()
    threads.clear()
    await made(lambda *_: threads.append(threading.current_thread()) or b"", _QUICK).signature(
        _MESSAGE, 0
    )
    assert threads == [threading.main_thread()]


async def test_without_a_key_nothing_is_signed(made: _Made) -> None:
    signer = made(lambda *_: b"never", *())
    assert await signer.signature(_MESSAGE, 0) == b""
