"""The load generator's dialogue: what it says, and what it waits for."""

from dataclasses import replace

from bench.dialogue import Exchange, Load, message, session

LOAD = Load(
    host="127.0.0.1",
    port=0,
    user="app",
    password="secret",
    ca="",
    connections=1,
    messages_per_connection=2,
    messages=3,
    size=4096,
    recipients=2,
    pipelining=False,
    sender="a@sender.test",
    recipient_domain="dest.test",
)


def said(load: Load, numbers: list[int]) -> list[Exchange]:
    """What is said after the login."""
    return list(session(load, iter(numbers)))[5:]


def test_a_client_waits_for_each_reply() -> None:
    exchanges = said(LOAD, [0])
    assert [exchange.codes for exchange in exchanges] == [
        (250,), (250,), (250,), (354,), (250,), (221,),
    ]  # fmt: skip
    assert exchanges[0].octets == (b"MAIL FROM:<a@sender.test>\r\n",)


def test_a_pipelining_client_sends_everything_up_to_data_in_one_write() -> None:
    first, content, _quit = said(replace(LOAD, pipelining=True), [0])
    assert first.codes == (250, 250, 250, 354)
    (octets,) = first.octets
    assert octets.count(b"\r\n") == 4
    assert octets.endswith(b"DATA\r\n")
    assert content.timed


def test_a_connection_carries_as_many_messages_as_it_may_and_no_more() -> None:
    numbers = iter(range(3))
    assert sum(exchange.timed for exchange in session(LOAD, numbers)) == 2
    assert next(numbers) == 2


def test_a_client_that_finds_no_message_left_quits() -> None:
    assert [exchange.codes for exchange in said(LOAD, [])] == [(221,)]


def test_a_message_has_about_the_size_that_was_asked_for_and_is_ended_once() -> None:
    for size in (4096, 51200):
        content = message(replace(LOAD, size=size), 7)
        assert size - 100 < len(content) <= size + 3
        assert content.endswith(b"\r\n.\r\n")
        assert content.count(b"\r\n.") == 1


def test_spread_recipients_are_all_different_and_of_every_part_of_the_order() -> None:
    load = replace(LOAD, spread_recipients=True, recipients=1)
    commands = [next(e for e in said(load, [n]) if e.octets[0][:4] == b"RCPT") for n in range(200)]
    addresses = {command.octets[0][9:17] for command in commands}
    assert len(addresses) == 200
    assert {address[:1] for address in addresses} == {b"%x" % n for n in range(16)}
