import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.frontend.budget import Budget
from relay.frontend.incoming import Incoming, Limits
from relay.frontend.replies import Answer
from relay.mail.dots import DotWriter
from relay.mail.headers import Headers
from relay.store.interface import StoreFull, StoreUnavailable
from relay.store.values import Body
from tests.frontend.house import MemoryStore

LIMITS = Limits(size=2_000, header=500)
HEADER = b"From: <a@b.test>\r\nX: y\r\n"

lines = st.lists(
    st.sampled_from([b"", b".", b"..", b"a", b".a", b"a.b", b" \t", b"\xff\x80", b"x" * 90]),
    max_size=20,
).map(lambda parts: b"".join(part + b"\r\n" for part in parts))


def receive(
    sent: bytes, cuts: list[int] | None = None, store: MemoryStore | None = None, **options: object
) -> tuple[Incoming, tuple[Headers, Body] | Answer, Budget, MemoryStore]:
    store = store or MemoryStore()
    budget = options.pop("budget", None) or Budget(10_000)
    assert isinstance(budget, Budget)
    incoming = Incoming(store.new_body(), LIMITS, budget)

    async def play() -> tuple[Headers, Body] | Answer:
        ends = [*sorted(cuts or []), len(sent)]
        for start, end in zip([0, *ends], ends, strict=False):
            if start < end and not incoming.ended:
                incoming.feed(sent[start:end])
            elif start < end:
                incoming.rest += sent[start:end]
        return await incoming.finish()

    return incoming, asyncio.run(play()), budget, store


def dotted(content: bytes) -> bytes:
    writer = DotWriter()
    return writer.feed(content) + writer.finish()


def reason(result: tuple[Headers, Body] | Answer) -> str:
    assert isinstance(result, Answer)
    return result.reason


@given(lines, st.data())
def test_any_cutting_gives_the_same_header_and_body(body: bytes, data: st.DataObject):
    sent = dotted(HEADER + b"\r\n" + body) + b"NOOP\r\n"
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8))
    incoming, result, _, _ = receive(sent, cuts)
    assert isinstance(result, tuple)
    assert result[0].to_bytes() == HEADER
    assert result[1].inline == body
    assert incoming.rest == b"NOOP\r\n"


@given(st.binary(max_size=300), st.data())
def test_any_octets_end_at_the_real_end_whatever_they_are(junk: bytes, data: st.DataObject):
    sent = b"." + junk.replace(b"\r\n.\r\n", b"") + b"x\r\n.\r\nRSET\r\n"
    end = (b"\r\n" + sent).index(b"\r\n.\r\n") + 3
    cuts = data.draw(st.lists(st.integers(0, len(sent)), max_size=8))
    incoming, _, _, _ = receive(sent, cuts)
    assert incoming.ended
    assert incoming.rest == sent[end:]


def test_a_message_without_an_empty_line_is_all_header():
    _, result, _, _ = receive(HEADER + b".\r\n")
    assert isinstance(result, tuple)
    assert result[0].to_bytes() == HEADER
    assert result[1].size == 0


def test_a_message_that_begins_with_an_empty_line_has_no_header():
    _, result, _, _ = receive(b"\r\nbody\r\n.\r\n")
    assert isinstance(result, tuple)
    assert result[0].fields == ()
    assert result[1].inline == b"body\r\n"


def test_an_empty_message_is_no_error_of_the_front_end():
    _, result, _, _ = receive(b".\r\n")
    assert isinstance(result, tuple)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (HEADER + b"\r\na\nb\r\n", "bare line end"),
        (HEADER + b"\r\na\rb\r\n", "bare line end"),
        (HEADER + b"\r\na\0b\r\n", "nul"),
        (b"X: \0\r\n\r\n", "nul"),
        (b"no header\r\n\r\n", "bad header"),
        (b"X: " + b"y" * 600 + b"\r\n\r\n", "header size"),
        (HEADER + b"\r\n" + b"x" * 2_000 + b"\r\n", "message size"),
    ],
)
def test_what_makes_a_message_impossible_is_read_to_its_end_and_nothing_is_kept(
    sent: bytes, expected: str
):
    incoming, result, budget, store = receive(sent + b".\r\nNOOP\r\n", [5, 40, 500])
    assert reason(result) == expected
    assert incoming.rest == b"NOOP\r\n"
    assert budget.held == 0
    assert store.discarded == 1


def test_only_bare_line_ends_close_the_connection():
    assert receive(HEADER + b"\r\n\n.\r\n\r\n.\r\n")[1].closes  # type: ignore[union-attr]  # an Answer
    assert not receive(b"bad\r\n.\r\n")[1].closes  # type: ignore[union-attr]  # an Answer


def test_a_refused_message_that_goes_on_for_ever_becomes_hopeless():
    incoming, _, _, _ = receive(HEADER + b"\r\n" + b"x" * 9_000, list(range(0, 9_000, 500)))
    assert incoming.is_hopeless


@pytest.mark.parametrize(
    ("error", "code"), [(StoreFull("full"), 452), (StoreUnavailable("broken"), 451)]
)
def test_a_store_that_fails_refuses_for_now_and_the_rest_is_read(error: Exception, code: int):
    store = MemoryStore()
    store.write_error = error
    incoming, result, budget, _ = receive(HEADER + b"\r\nbody\r\n.\r\nNOOP\r\n", store=store)
    assert isinstance(result, Answer)
    assert result.reply.code == code
    assert incoming.rest == b"NOOP\r\n"
    assert budget.held == 0


def test_a_message_above_the_budget_of_all_is_refused_for_now():
    _, result, budget, _ = receive(HEADER + b"\r\nbody\r\n.\r\n", budget=Budget(10))
    assert reason(result) == "bytes in flight"
    assert budget.held == 0


def test_what_is_in_memory_is_charged_until_it_is_released():
    incoming, result, budget, _ = receive(HEADER + b"\r\nbody\r\n.\r\n")
    assert isinstance(result, tuple)
    assert budget.held == len(HEADER) + len(b"body\r\n")
    incoming.release()
    assert budget.held == 0


@pytest.mark.parametrize("spilled", [False, True])
def test_the_test_virus_is_noticed_in_what_is_held_and_in_what_was_spilled(spilled: bool):
    virus = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-" + b"STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    body = b"Hello.\r\n" + virus + b"\r\n"
    store = MemoryStore()
    incoming = Incoming(store.new_body(), LIMITS, Budget(10_000))

    async def play() -> tuple[Headers, Body] | Answer:
        for at in range(0, len(sent := dotted(HEADER + b"\r\n" + body)), 40):
            incoming.feed(sent[at : at + 40])
            if spilled:
                await incoming.spill()
        return await incoming.finish()

    result = asyncio.run(play())
    assert isinstance(result, tuple)
    assert incoming.rejected == "Bad content"
    assert receive(dotted(HEADER + b"\r\nHello.\r\n"))[0].rejected == ""
