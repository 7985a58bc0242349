"""Which site the mail of a domain goes to, and whose it is."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.config.providers import shipped_providers
from relay.config.shaping import Provider
from relay.routing.answers import MxAnswer
from relay.routing.plan import Destination, RoutingFailure
from relay.routing.providers import Providers
from relay.routing.sites import Site, Sites
from relay.routing.transport import TransportPolicy
from tests.routing.conftest import FakeDns

MX = Destination("mx")
SHIPPED = Providers(shipped_providers())


class Dns(FakeDns):
    """Every answer may be believed for `ttl` seconds from `now`."""

    now, ttl = 100.0, 60.0

    async def mx(self, domain: str) -> MxAnswer:
        return replace(await super().mx(domain), until=self.now + self.ttl)


def make(mx: Any, providers: Providers = SHIPPED, **options: Any) -> tuple[Sites, Dns]:
    dns = Dns(mx)
    return Sites(providers, dns, (), clock=lambda: dns.now, **options), dns


async def test_domains_with_the_same_mx_are_one_site_in_whatever_order_dns_tells_them() -> None:
    sites, _ = make(
        {
            "one.test": [(10, "a.mx.test"), (10, "b.mx.test"), (20, "c.mx.test")],
            "two.test": [(20, "c.mx.test"), (10, "b.mx.test"), (10, "a.mx.test")],
            "three.test": [(10, "a.mx.test"), (20, "b.mx.test"), (20, "c.mx.test")],
        }
    )
    one, two, three = [await sites.find(MX, f"{name}.test") for name in ("one", "two", "three")]
    assert one is two
    assert one != three
    assert one.line.startswith("a.mx.test.+")


async def test_who_names_a_strangers_host_beside_his_own_is_not_heard_as_the_stranger() -> None:
    sites, _ = make(
        {
            "victim.test": [(10, "mx.victim.test")],
            "several.test": [(10, "mx.victim.test"), (20, "backup.victim.test")],
            "beside.test": [(10, "mx.victim.test"), (10, "zz.evil.test")],
            "before.test": [(10, "mx.victim.test"), (20, "zz.evil.test")],
            "provider.test": [(10, "no-such-host.google.com"), (20, "zz.evil.test")],
        }
    )
    names = ("victim", "several", "beside", "before", "provider")
    found = [await sites.find(MX, f"{name}.test") for name in names]
    assert found[0].line == "mx.victim.test"
    assert len({site.line for site in found}) == len(found)
    assert not any(site.provider for site in found)


async def test_a_site_is_known_for_as_long_as_dns_allows_and_asked_for_again_then() -> None:
    sites, dns = make({"one.test": [(10, "a.mx.test")]})
    assert sites.known(MX, "one.test") is None
    found = await sites.find(MX, "one.test")
    dns.now += 59
    assert sites.known(MX, "one.test") is found
    dns.mx_records["one.test"] = [(10, "b.mx.test")]
    assert await sites.find(MX, "one.test") is found
    dns.now += 2
    assert sites.known(MX, "one.test") is None
    assert (await sites.find(MX, "one.test")).name == "b.mx.test"
    assert dns.asked == ["one.test MX", "one.test MX"]


async def test_no_more_domains_are_remembered_than_there_is_room_for() -> None:
    sites, _ = make({f"d{n}.test": [(10, "a.mx.test")] for n in range(50)}, size=10)
    for n in range(50):
        await sites.find(MX, f"d{n}.test")
    assert repr(sites) == "<Sites of 10 domains>"
    assert sites.known(MX, "d49.test")
    assert not sites.known(MX, "d0.test")


async def test_a_domain_without_mx_is_a_site_of_its_own() -> None:
    sites, _ = make({"one.test": "nodata"})
    assert (await sites.find(MX, "one.test")).line == "one.test"


@pytest.mark.parametrize(
    ("records", "code"), [(None, "5.1.2"), ([(0, "")], "5.1.10"), ("failure", "4.4.3")]
)
async def test_where_there_is_no_site_nothing_is_remembered(records: Any, code: str) -> None:
    sites, dns = make({} if records is None else {"one.test": records})
    for _ in range(2):
        with pytest.raises(RoutingFailure) as failure:
            await sites.find(MX, "one.test")
        assert failure.value.reply.enhanced == code
    assert dns.asked.count("one.test MX") == 2


async def test_a_smarthost_and_a_literal_are_sites_that_need_no_question() -> None:
    sites, dns = make({})
    smarthost = Destination("smarthost", "10.0.0.5", 2525)
    assert sites.known(smarthost, "any.test") is sites.known(smarthost, "other.test")
    found = sites.known(smarthost, "any.test")
    assert found is not None
    assert (found.line, found.port, found.provider) == ("10.0.0.5:2525", 2525, "")
    literal = await sites.find(MX, "[192.0.2.9]")
    assert (literal.kind, literal.line) == ("literal", "[192.0.2.9]")
    assert not dns.asked


async def test_a_domain_with_a_policy_of_its_own_shares_limits_but_no_connection() -> None:
    policy = TransportPolicy(dane=True)

    class Policies:
        async def find(self, domain: str, answer: MxAnswer) -> tuple[TransportPolicy, float]:
            return (policy if domain == "strict.test" else TransportPolicy()), 130.0

    hosts = [(10, "a.mx.test")]
    sites, dns = make({"strict.test": hosts, "lax.test": hosts}, policies=Policies())
    strict, lax = await sites.find(MX, "strict.test"), await sites.find(MX, "lax.test")
    assert strict != lax
    assert strict.policy == policy
    assert strict.line == lax.line
    dns.now = 131.0  # the policy may not be believed for as long as the MX may
    assert sites.known(MX, "strict.test") is None


@pytest.mark.parametrize(
    ("domain", "hosts", "provider"),
    [
        ("gmail.com", ["gmail-smtp-in.l.google.com", "alt1.gmail-smtp-in.l.google.com"], "google"),
        ("hosted.test", ["aspmx.l.google.com"], "google"),
        ("hosted.test", ["smtp.google.com"], "google"),
        ("hosted.test", ["hosted-test.mail.protection.outlook.com"], "microsoft365"),
        ("hosted.test", ["hosted-test.a-v1.mx.microsoft"], "microsoft365"),
        ("hotmail.fr", ["hotmail-fr.olc.protection.outlook.com"], "outlook"),
        ("live.test", ["live-test.olc.protection.outlook.com"], "outlook"),
        ("yahoo.com", ["mta5.am0.yahoodns.net", "mta6.am0.yahoodns.net"], "yahoo"),
        ("cox.test", ["cxr.mx.a.cloudfilter.net"], "cloudmark"),
        ("hosted.test", ["mx01.mail.icloud.com"], "apple"),
        ("wanadoo.fr", ["smtp-in.orange.fr"], "orange"),
        ("web.de", ["mx-ha02.web.de"], "gmx"),
        ("hosted.test", ["mx00.kundenserver.de"], "ionos"),
        ("hosted.test", ["mxa-0001.gslb.pphosted.com"], "proofpoint"),
        ("hosted.test", ["eu-smtp-inbound-1.mimecast.com"], "mimecast"),
        ("hosted.test", ["notgoogle.com"], ""),
        ("hosted.test", ["aspmx.l.google.com", "mx.elsewhere.test"], ""),
        ("comcast.net", ["mx-aol.mail.gm0.yahoodns.net"], "yahoo"),
    ],
)
async def test_providers_are_known_by_their_domains_and_their_hosts(
    domain: str, hosts: list[str], provider: str
) -> None:
    sites, _ = make({domain: [(10, host) for host in hosts]})
    site = await sites.find(MX, domain)
    assert site.provider == provider
    assert site.label == (provider or "other")


async def test_all_hosts_say_whose_a_domain_is() -> None:
    sites, _ = make(
        {
            "d.test": [(1, "aspmx.l.google.com"), (5, "alt1.aspmx.l.google.com")],
            "e.test": [(1, "aspmx.l.google.com"), (50, "backup.test")],
        }
    )
    assert (await sites.find(MX, "d.test")).provider == "google"
    assert (await sites.find(MX, "e.test")).provider == ""


def test_a_domain_counts_before_its_hosts_and_the_last_definition_before_others() -> None:
    providers = Providers(
        {
            "one": Provider(domains=("a.test",), exchanges=("mx.test",)),
            "two": Provider(exchanges=("mx.test", "deep.mx.test")),
        }
    )
    assert providers.of_domain("a.test") == "one"
    assert providers.of_exchanges(["x.mx.test"]) == "two"


@given(st.lists(st.text("abc.", min_size=1, max_size=12), min_size=1, max_size=4))
def test_a_suffix_matches_whole_labels_only(hosts: list[str]) -> None:
    providers = Providers({"p": Provider(exchanges=("b.c",))})
    expected = all(host == "b.c" or host.endswith(".b.c") for host in hosts)
    assert (providers.of_exchanges(hosts) == "p") == expected


def test_no_site_has_the_name_of_a_provider() -> None:
    for name in shipped_providers():
        assert "." not in name
    assert Site("mx", "mx.", ()).line == "mx."
