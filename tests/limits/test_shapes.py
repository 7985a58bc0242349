"""Whose word counts for what a source sends to a provider."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.units import Rate
from relay.limits.shapes import Shape
from relay.limits.specs import Limit, path_keys
from tests.limits.making import shapes, specs

SOURCE = "192.0.2.1"
POOLS = {"main": {"sources": [{"address": SOURCE}, {"address": "192.0.2.2"}]}}


def test_a_line_that_no_definition_matches_has_the_old_keys_of_delivery() -> None:
    delivery = {"connections_per_destination": 7, "messages_per_connection": 9}
    assert shapes(delivery=delivery).of(SOURCE, "mx.example.net") == Shape(7, 9)


def test_default_beats_them_and_a_provider_beats_default_key_by_key() -> None:
    made = shapes(
        providers={
            "default": {"connections": 3, "rate": "5/s"},
            "corp": {"exchanges": ["mx.corp.test"], "connections": 11},
        }
    )
    assert made.of(SOURCE, "mx.example.net") == Shape(3, 100, rates=(Rate(5, 1),))
    assert made.of(SOURCE, "corp") == Shape(11, 100, rates=(Rate(5, 1),))


def test_a_definition_changes_the_shipped_one_key_by_key() -> None:
    before = shapes().of(SOURCE, "google")
    after = shapes(providers={"google": {"connections": 2}}).of(SOURCE, "google")
    assert after.connections == 2
    assert after.rates == before.rates
    assert after.rates


def test_a_pool_says_more_about_its_own_sources_than_the_definition_does() -> None:
    pools = {
        "main": {
            "sources": [{"address": SOURCE}],
            "providers": {
                "google": {"connections": 4, "rate": "unlimited"},
                "default": {"quota": 10},
            },
        },
        "other": {"sources": [{"address": "192.0.2.2"}]},
    }
    made = shapes(pools=pools)
    assert made.of(SOURCE, "google").connections == 4
    assert made.of(SOURCE, "google").rates == ()
    assert made.of(SOURCE, "mx.example.net").quota == 10
    assert made.of("192.0.2.2", "google") == shapes().of(SOURCE, "google")
    assert made.of("192.0.2.2", "mx.example.net").quota is None


def test_an_address_that_two_pools_share_has_the_lowest_of_theirs() -> None:
    def pool(**google: object) -> dict[str, object]:
        return {"sources": [{"address": SOURCE}], "providers": {"google": google}}

    made = shapes(
        pools={
            "one": pool(connections=4, rate=["20/s", "100/h"], quota="unlimited"),
            "two": pool(connections=9, rate="10/s", quota=500, connection_rate="1/s"),
        }
    )
    shape = made.of(SOURCE, "google")
    assert shape.connections == 4
    assert shape.rates == (Rate(10, 1), Rate(100, 3600))
    assert shape.quota == 500
    assert shape.connection_rate == Rate(1, 1)


@pytest.mark.parametrize("line", ["google", "mx.example.net", "[192.0.2.9]", "mx.", "10.0.0.1:25"])
def test_every_key_of_a_path_has_its_limit(line: str) -> None:
    rates = ["20/s", "500/min", "9000/h"]
    definition = {"rate": rates, "quota": 70_000, "connection_rate": "3/s"}
    made = {"providers": {"default": definition, "google": definition}}
    limits = specs(**made)
    first, *others = path_keys(shapes(**made).of(SOURCE, line), SOURCE, line)
    assert limits[first] == Limit(Rate(20, 1), 70_000)
    assert [limits[key] for key in others] == [Limit(Rate(500, 60)), Limit(Rate(9000, 3600))]
    assert limits[f"connect:{SOURCE}/{line}"] == Limit(Rate(3, 1))


def test_a_line_without_limits_has_no_keys() -> None:
    limits = specs()
    assert path_keys(shapes().of(SOURCE, "mx.example.net"), SOURCE, "mx.example.net") == ()
    assert f"path:{SOURCE}/mx.example.net" not in limits
    assert f"connect:{SOURCE}/mx.example.net" not in limits


_LIMITS = specs()


@given(st.text(max_size=60))
def test_whatever_is_asked_for_no_limit_is_made_up(name: str) -> None:
    for level in ("", "set", "path", "connect", "temper"):
        assert _LIMITS.get(f"{level}:{name}") is None
