"""The hosts file, and that it is asked before DNS."""

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from relay.routing.hosts import parse_hosts, read_hosts
from relay.routing.resolver import DnsResolver

V4, V6 = ip_address("127.0.0.1"), ip_address("::1")


def test_every_name_of_a_line_has_its_address_and_comments_are_passed_over() -> None:
    text = "127.0.0.1 localhost Loop.Test # here\n::1\tlocalhost\n# 10.0.0.1 nobody\nrubbish\n"
    assert parse_hosts(text) == {"localhost": (V4, V6), "loop.test": (V4,)}


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    parse_hosts(text)


def test_a_missing_file_names_nobody(tmp_path) -> None:
    assert read_hosts(tmp_path / "hosts") == {}


async def test_a_name_of_the_hosts_file_is_not_asked_of_dns() -> None:
    resolver = DnsResolver([], hosts=lambda: parse_hosts("127.0.0.1 smarthost"))
    try:
        assert (await resolver.addresses("smarthost", 4)).addresses == (V4,)
        assert (await resolver.addresses("smarthost", 6)).status == "nodata"
        assert (await resolver.addresses("other", 4)).status == "failure"
    finally:
        await resolver.close()


async def test_the_hosts_file_is_read_again_at_a_reload() -> None:
    lines = ["127.0.0.1 old"]
    resolver = DnsResolver([], hosts=lambda: parse_hosts(lines[0]))
    lines[0] = "127.0.0.1 new"
    resolver.reconfigure([])
    try:
        assert (await resolver.addresses("new", 4)).addresses == (V4,)
        assert (await resolver.addresses("old", 4)).addresses == ()
    finally:
        await resolver.close()
