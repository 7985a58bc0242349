"""What a connection must fulfil: the operator's word and the domain's policy put together."""

from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest

from relay.routing.mta_sts import StsPolicy
from relay.routing.mx import Exchange
from relay.routing.sites import Site
from relay.routing.tlsa import HostTlsa, Tlsa
from relay.routing.transport import (
    OPPORTUNISTIC,
    DestinationTls,
    TransportPolicy,
    demand_on,
)

_ENFORCE = StsPolicy("example.org", "1", "enforce", ("mx.example.org",), 86400)
_TESTING = StsPolicy("example.org", "1", "testing", ("mx.example.org",), 86400)
_STRICT = TransportPolicy(_ENFORCE, dane=True)
_NONE = StsPolicy("example.org", "1", "none")
_EE = Tlsa(3, 1, 1, bytes(32))
_PKIX = Tlsa(1, 1, 1, bytes(32))
_FOUND = HostTlsa("found", (_EE,), "mx.example.org")


@pytest.mark.parametrize(
    ("word", "encryption", "trust"),
    [
        ("opportunistic", "offered", "anybody"),
        ("require", "always", "anybody"),
        ("verify", "always", "authority"),
        ("implicit", "implicit", "anybody"),
        ("implicit_verify", "implicit", "authority"),
        ("none", "never", "anybody"),
    ],
)
def test_without_a_policy_the_operator_decides(word: Any, encryption: str, trust: str) -> None:
    demand = demand_on("mx.example.org", word, OPPORTUNISTIC)
    assert (demand.encryption, demand.trust) == (encryption, trust)


@pytest.mark.parametrize("word", ["opportunistic", "require", "verify"])
def test_mta_sts_in_force_wants_a_host_it_names_with_a_valid_certificate(word: Any) -> None:
    policy = TransportPolicy(sts=_ENFORCE)
    demand = demand_on("mx.example.org", word, policy)
    assert (demand.encryption, demand.trust, demand.refusal) == ("always", "authority", "")
    assert not demand.may_fall_back
    other = demand_on("mx.example.net", word, policy)
    assert "does not name it" in other.refusal
    assert not other.may_fall_back


def test_mta_sts_in_testing_refuses_nothing() -> None:
    for host in ("mx.example.org", "mx.example.net"):
        demand = demand_on(host, "opportunistic", TransportPolicy(sts=_TESTING))
        assert (demand.encryption, demand.trust, demand.refusal) == ("offered", "anybody", "")
        enforced = replace(_TESTING, mode="enforce")
        strict = demand_on(host, "opportunistic", TransportPolicy(sts=enforced))
        assert demand.trial == replace(strict, policy=_TESTING.strings)


def test_mta_sts_of_mode_none_asks_for_nothing() -> None:
    demand = demand_on("mx.example.net", "opportunistic", TransportPolicy(sts=_NONE))
    assert (demand.encryption, demand.policy_type) == ("offered", "no-policy-found")


@pytest.mark.parametrize("sts", [None, _ENFORCE, _TESTING])
def test_dane_beats_mta_sts(sts: StsPolicy | None) -> None:
    demand = demand_on("mx.example.net", "opportunistic", TransportPolicy(sts, True), _FOUND)
    assert (demand.encryption, demand.trust, demand.refusal) == ("always", "dane", "")
    assert demand.tlsa == (_EE,)


def test_a_failed_look_up_of_tlsa_records_is_never_taken_for_none() -> None:
    failed = HostTlsa("failed", detail="timeout")
    demand = demand_on("mx.example.org", "opportunistic", TransportPolicy(None, True), failed)
    assert "timeout" in demand.refusal
    assert not demand.may_fall_back


def test_unusable_records_make_tls_mandatory_and_check_nothing() -> None:
    unusable = HostTlsa("found", (_PKIX,), "mx.example.org")
    policy = TransportPolicy(_ENFORCE, True)
    demand = demand_on("mx.example.org", "opportunistic", policy, unusable)
    assert (demand.encryption, demand.trust) == ("always", "anybody")
    assert demand_on("mx.example.org", "verify", policy, unusable).trust == "authority"


def test_records_of_a_domain_whose_mx_is_not_authentic_do_not_count() -> None:
    demand = demand_on("mx.example.org", "opportunistic", TransportPolicy(_TESTING), _FOUND)
    assert demand.trial is not None
    assert demand.trust == "anybody"


@pytest.mark.parametrize("word", ["none", "implicit", "implicit_verify"])
def test_where_the_operator_has_decided_no_policy_is_looked_at(word: Any) -> None:
    strict = TransportPolicy(_ENFORCE, True)
    assert demand_on("a.test", word, strict, _FOUND) == demand_on("a.test", word, OPPORTUNISTIC)


@pytest.mark.parametrize("word", get_args(DestinationTls))
def test_a_policy_never_makes_a_demand_weaker(word: Any) -> None:
    order = ["offered", "always", "implicit"]
    own = demand_on("m.test", word, OPPORTUNISTIC)
    for sts, dane in product((_ENFORCE, _TESTING, _NONE), (False, True)):
        put_together = demand_on("m.test", word, TransportPolicy(sts, dane), _FOUND)
        if own.encryption != "never":
            assert order.index(put_together.encryption) >= order.index(own.encryption)
        assert own.trust == "anybody" or put_together.trust == own.trust


def test_mail_that_a_policy_must_not_stop_goes_to_the_same_site_without_one() -> None:
    site = Site("mx", "mx.test", (Exchange(0, "mx.test"),), provider="big", policy=_STRICT)
    free = site.without_policy()
    assert (free.policy, free.exchanges, free.line) == (OPPORTUNISTIC, site.exchanges, site.line)
    assert free != site
    assert free.without_policy() is free
