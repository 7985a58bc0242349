import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.model import Bounds
from relay.frontend.blocks import Block, Blocks
from relay.frontend.guard import Guard, client_key


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def make_guard(**bounds: object) -> tuple[Guard, Clock]:
    clock = Clock()
    return Guard(Bounds.model_validate(bounds), clock), clock


def test_connections_are_counted_in_all():
    guard, _ = make_guard(connections=2)
    assert guard.connect("192.0.2.1") == ""
    assert guard.connect("192.0.2.2") == ""
    assert guard.connect("192.0.2.3") == "connections"
    guard.disconnect("192.0.2.1")
    assert guard.connect("192.0.2.3") == ""


def test_the_connections_of_one_client_do_not_stop_another():
    guard, _ = make_guard(connections_per_client=1)
    assert guard.connect("192.0.2.1") == ""
    assert guard.connect("192.0.2.1") == "client connections"
    assert guard.connect("192.0.2.2") == ""


def test_sessions_of_one_credential_are_counted():
    guard, _ = make_guard(connections_per_credential=1)
    assert guard.log_in("app")
    assert not guard.log_in("app")
    assert guard.log_in("other")
    guard.log_out("app")
    assert guard.log_in("app")


def test_failed_logins_block_a_client_beyond_its_connection_and_for_a_time():
    guard, clock = make_guard(block_after=3, block_for="10m")
    for _ in range(3):
        assert guard.client_blocked("192.0.2.1") == 0
        guard.failed("192.0.2.1", "app")
    assert guard.client_blocked("192.0.2.1") == 600
    assert guard.connect("192.0.2.1") == "blocked"
    assert guard.connect("192.0.2.2") == ""
    clock.now += 600
    assert guard.connect("192.0.2.1") == ""


def test_failures_that_are_long_ago_are_forgotten():
    guard, clock = make_guard(block_after=3, block_for="10m")
    guard.failed("192.0.2.1", "app")
    guard.failed("192.0.2.1", "app")
    clock.now += 601
    guard.failed("192.0.2.1", "app")
    assert guard.client_blocked("192.0.2.1") == 0


def test_one_user_name_tried_from_many_addresses_is_blocked_later_than_one_address():
    guard, _ = make_guard(block_after=2)
    for number in range(10):
        assert guard.user_blocked("app") == 0
        guard.failed(f"192.0.2.{number}", "app")
    assert guard.user_blocked("app") > 0
    assert guard.user_blocked("other") == 0


def test_a_host_cannot_escape_by_its_many_ipv6_addresses():
    guard, _ = make_guard(block_after=2)
    guard.failed("2001:db8::1", "a")
    guard.failed("2001:db8::2", "b")
    assert guard.client_blocked("2001:db8::ffff")
    assert not guard.client_blocked("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("client", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_clients_are_known_by_what_they_cannot_change(client: str, key: str):
    assert client_key(client) == key


def test_the_tables_are_bounded_whoever_comes():
    guard, _ = make_guard()
    for number in range(12_000):
        guard.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", f"user{number}")
    assert len(guard._failures["client"]) == 10_000
    assert len(guard._failures["user"]) == 10_000


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_counts_return_to_nothing_when_all_are_gone(steps: list[tuple[int, bool]]):
    guard, _ = make_guard(connections=5, connections_per_client=2)
    here: list[str] = []
    for host, arrives in steps:
        client = f"192.0.2.{host}"
        if arrives:
            if guard.connect(client) == "":
                here.append(client)
        elif client in here:
            here.remove(client)
            guard.disconnect(client)
        assert guard.connections == len(here) <= 5
        assert all(here.count(one) <= 2 for one in here)
    for client in here:
        guard.disconnect(client)
    assert guard.connections == 0
    assert not guard._by_client


def test_a_one_time_login_is_let_in_once_and_whatever_the_credential_has_open():
    guard, clock = make_guard(connections_per_credential=1)
    assert guard.log_in("app")
    assert guard.log_in("app", "one")
    assert not guard.log_in("app", "one")
    assert guard.log_in("app", "two")
    clock.now += 3_600
    assert not guard.log_in("app", "one")


def test_the_failure_that_blocks_tells_what_is_blocked_and_for_how_long():
    guard, _ = make_guard(block_after=2, block_for="10m")
    assert guard.failed("2001:db8::1", "app") == ()
    assert guard.failed("2001:db8::2", "app") == (Block("client", "2001:db8::/64", 600),)
    told = [guard.failed(f"192.0.2.{number}", "app") for number in range(8)]
    assert told == [()] * 7 + [(Block("user", "app", 600),)]


def test_a_process_that_begins_learns_the_blocks_in_force():
    guard, clock = make_guard(block_after=1, block_for="10m")
    guard.failed("192.0.2.1", "app")
    clock.now += 100
    guard.failed("192.0.2.2", "app")
    clock.now += 400
    blocks = Blocks(clock)
    for block in guard.blocks.in_force():
        blocks.put(block)
    assert blocks.remaining("client", "192.0.2.1") == 100
    assert blocks.remaining("client", "192.0.2.2") == 200
    assert blocks.remaining("client", "192.0.2.3") == 0
    clock.now += 150
    assert blocks.remaining("client", "192.0.2.1") == 0
    assert [block.key for block in blocks.in_force()] == ["192.0.2.2"]


def test_a_table_of_blocks_is_bounded_whoever_is_blocked():
    guard, _ = make_guard(block_after=1)
    for number in range(12_000):
        guard.failed(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", "app")
    assert len(guard.blocks.in_force()) == 10_001
    assert guard.client_blocked("10.0.46.223")
