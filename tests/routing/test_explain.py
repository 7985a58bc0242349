"""The whole way of a message, explained."""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from relay.admission.policy import Policy
from relay.routing.explain import Explanation, at_site, explain, explain_queued, find_hosts
from relay.routing.router import Router
from relay.routing.sites import Site
from relay.store.fleet_values import Elsewhere
from relay.store.pauses import Pause

KEY = {"selector": "s1", "key": Path("/keys/s1.pem")}
SECTIONS: dict[str, Any] = {
    "identities": {
        "example.com": {
            "dkim": [KEY],
            "configuration_set": "a",
            "mail_from": "bounce.example.com",
        },
        "news@example.com": {"configuration_set": "b"},
        "plain.test": {},
    },
    "credentials": {
        "app": {"configuration_set": "b"},
        "narrow": {"identities": ["plain.test"], "configuration_sets": ["a", "b"]},
        "single": {"configuration_sets": ["b"]},
        "off": {"enabled": False},
    },
    "configuration_sets": {
        "a": {"pool": "red"},
        "b": {"pool": "blue", "tls": "require", "max_age": "2h"},
        "paused": {"pool": "red", "sending": False},
    },
    "pools": {
        "red": {
            "sources": [
                {"address": "198.51.100.2", "weight": 3},
                {"address": "198.51.100.3"},
                {"address": "198.51.100.4", "weight": 0},
                {"address": "198.51.100.5"},
            ]
        },
        "blue": {"sources": [{"address": "198.51.100.6"}]},
    },
}


@pytest.fixture
def ask(make_config: Any, make_dns: Any, make_health: Any) -> Any:
    config = make_config(**SECTIONS)
    health = make_health({"198.51.100.5": "this host does not have the address"})
    dns = make_dns({"example.org": [(10, "a.test")]}, {"a.test": ["8.8.8.8"]})
    router = Router(config, dns, health, Random(1))

    def asked(sender: str, recipient: str = "bob@example.org", **more: Any) -> Explanation:
        return explain(sender, recipient, config=config, router=router, **more)

    asked.router = router  # type: ignore[attr-defined]
    asked.config = config  # type: ignore[attr-defined]
    return asked


async def test_every_decision_from_identity_to_host_is_told(ask: Any) -> None:
    found = await find_hosts(ask("ann@example.com", credential="app"), ask.router)
    assert found.identity == "example.com"
    assert (found.configuration_set, found.configuration_set_from) == (
        "a",
        "of identity example.com",
    )
    assert [(k.domain, k.selector) for k in found.keys] == [("example.com", "s1")]
    assert [(s.address[-1], s.share, s.excluded) for s in found.sources] == [
        ("2", 0.75, ""),
        ("3", 0.25, ""),
        ("4", 0.0, "its weight is 0"),
        ("5", 0.0, "this host does not have the address"),
    ]
    assert [(h.name, h.address) for h in found.hosts] == [("a.test", "8.8.8.8")]
    assert found.tls == (
        "opportunistic (of configuration set a): TLS where the peer offers it, clear text otherwise"
    )
    assert found.limit_keys[:4] == ("account:account", "credential:app", "set:a", "pool:red")
    assert "source:198.51.100.2" in found.limit_keys
    assert found.problem == found.refusal == ""


def test_an_address_signs_with_the_keys_of_its_domain(ask: Any) -> None:
    found = ask("news@example.com")
    assert found.identity == "news@example.com"
    assert found.configuration_set == "b"
    assert [k.domain for k in found.keys] == ["example.com"]
    assert found.max_age == 7200


@pytest.mark.parametrize(
    ("sender", "more", "refusal"),
    [
        ("ann@other.test", {}, "no identity of the configuration covers ann@other.test"),
        ("ann@plain.test", {}, "no configuration set applies"),
        ("ann@example.com", {"configuration_set": "x"}, "configuration set x does not exist"),
        ("ann@example.com", {"configuration_set": "paused"}, "configuration set paused is paused"),
        ("ann@example.com", {"credential": "nobody"}, "credential nobody does not exist"),
        ("ann@example.com", {"credential": "off"}, "credential off is disabled"),
        ("ann@example.com", {"credential": "narrow"}, "credential narrow may not send as"),
        (
            "ann@plain.test",
            {"credential": "narrow", "configuration_set": "paused"},
            "credential narrow may not use configuration set paused",
        ),
    ],
)
def test_a_message_that_would_be_refused_says_why(
    ask: Any, sender: str, more: dict[str, str], refusal: str
) -> None:
    found = ask(sender, **more)
    assert found.refusal.startswith(refusal)
    assert not found.pool


def test_what_is_paused_at_run_time_is_refused_as_admission_does(ask: Any) -> None:
    pauses = [
        Pause("set", "bulk", "8 % bounced", "relay", 0),
        Pause("credential", "app", "leak", "ann", 0),
    ]
    assert not ask("ann@example.com", pauses=pauses).refusal
    found = ask("ann@example.com", credential="app", pauses=pauses)
    assert found.refusal == "sending is paused for credential:app: leak (`relay reputation resume`)"
    pauses = [Pause("set", found.configuration_set, "8 % bounced", "relay", 0)]
    assert "8 % bounced" in ask("ann@example.com", pauses=pauses).refusal


async def test_a_problem_of_dns_is_part_of_the_explanation(ask: Any) -> None:
    found = await find_hosts(ask("ann@example.com", "bob@gone.test"), ask.router)
    assert found.problem == "550 5.1.2 the domain gone.test does not exist"
    refused = ask("ann@other.test")
    assert await find_hosts(refused, ask.router) == refused


@pytest.mark.parametrize("nodes", [(), ("b", "c")])
def test_mail_that_is_left_to_other_nodes_names_them_and_lacks_nothing(
    make_config: Any, make_dns: Any, make_health: Any, nodes: tuple[str, ...]
) -> None:
    config = make_config(**SECTIONS)
    health = make_health({"198.51.100.6": "this host does not have the address"})
    elsewhere = Elsewhere({"blue": nodes} if nodes else {}, {})
    router = Router(config, make_dns({}, {}), health, Random(1))
    told = explain(
        "news@example.com", "bob@example.org", config=config, router=router, elsewhere=elsewhere
    )
    plan = router.plan("example.org", "b")
    queued = explain_queued("news@example.com", "bob@example.org", plan, "", elsewhere)
    for found in (told, queued):
        assert (found.carried_by, not found.problem) == (nodes, bool(nodes))


@pytest.mark.parametrize("sender", ["ann@example.com", "news@example.com", "ann@plain.test"])
@pytest.mark.parametrize("credential", ["app", "single"])
def test_the_configuration_set_is_the_one_that_admission_takes(
    ask: Any, sender: str, credential: str
) -> None:
    policy = Policy.of(ask.config, "relay.example.com")
    login = policy.credentials[credential]
    wishes = policy.default_sets(sender, login)
    expected = next((name for name in wishes if name and login.may_use(name)), "")
    assert ask(sender, credential=credential).configuration_set == expected


def test_the_site_tells_the_provider_and_what_each_source_sends_there_at_most(ask: Any) -> None:
    site = Site("mx", "aspmx.l.google.com", (), provider="google")
    found = at_site(ask("ann@example.com"), site, ask.router.shapes)
    assert (found.site, found.provider) == ("aspmx.l.google.com", "google")
    assert found.sources[0].shape == (
        "20 connections of 50 messages, 100 recipients each, 20/s, 10/s opened"
    )
    assert "path:198.51.100.2/google" in found.limit_keys
    assert "connect:198.51.100.2/google" in found.limit_keys


def test_the_return_path_is_on_the_mail_from_domain_or_the_clients_own(ask: Any) -> None:
    assert ask("me@sub.example.com").return_path == "b+TOKEN@bounce.example.com"
    assert ask("me@plain.test").return_path == ""
