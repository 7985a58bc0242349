"""A small configuration, a DNS of our own and sources that this host has, or not."""

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from relay.config.model import Config
from relay.routing.answers import AddressAnswer, MxAnswer, TextAnswer, TlsaAnswer
from relay.routing.plan import Family

MakeConfig = Callable[..., Config]


@pytest.fixture
def make_config() -> MakeConfig:
    """Builds a configuration from the defaults below and the sections given."""

    def make(**sections: Any) -> Config:
        values: dict[str, Any] = {
            "hostname": "relay.example.com",
            "data_dir": Path("/nonexistent"),
            "tls": {"certificate": Path("c.pem"), "key": Path("k.pem")},
            "listeners": {"submission": {"address": "192.0.2.1:587"}},
            "identities": {"example.com": {}},
            "configuration_sets": {"news": {"pool": "main"}},
            "pools": {"main": {"sources": [{"address": "198.51.100.2"}]}},
        }
        return Config.model_validate({**values, **sections})

    return make


class FakeHealth:
    """Every address is there but for `faults`."""

    def __init__(self, faults: Mapping[str, str] | None = None) -> None:
        self.faults = dict(faults or {})
        self.version = 0

    def fault(self, address: str) -> str:
        return self.faults.get(address, "")


class FakeDns:
    """A zone: MX records by domain, addresses by name; what is not in it does not exist.

    A string in place of records is a status: `nodata` or `failure`.
    """

    def __init__(
        self,
        mx: Mapping[str, list[tuple[int, str]] | str] | None = None,
        addresses: Mapping[str, list[str] | str] | None = None,
    ) -> None:
        self.mx_records = dict(mx or {})
        self.address_records = dict(addresses or {})
        self.asked: list[str] = []

    async def mx(self, domain: str) -> MxAnswer:
        self.asked.append(f"{domain} MX")
        records = self.mx_records.get(domain)
        if records is None:
            return MxAnswer("nodata" if domain in self.address_records else "nxdomain")
        if isinstance(records, str):
            return MxAnswer(records)  # type: ignore[arg-type]
        return MxAnswer("found", tuple(records))

    async def addresses(self, name: str, family: Family) -> AddressAnswer:
        self.asked.append(f"{name} {family}")
        records = self.address_records.get(name)
        if records is None:
            return AddressAnswer("nodata" if name in self.mx_records else "nxdomain")
        if isinstance(records, str):
            return AddressAnswer(records)  # type: ignore[arg-type]
        found = tuple(a for a in map(ip_address, records) if a.version == family)
        return AddressAnswer("found" if found else "nodata", found)

    async def texts(self, name: str) -> TextAnswer:
        self.asked.append(f"{name} TXT")
        return TextAnswer("nxdomain")

    async def tlsa(self, name: str) -> TlsaAnswer:
        self.asked.append(f"{name} TLSA")
        return TlsaAnswer("nxdomain")


@pytest.fixture
def healthy() -> FakeHealth:
    return FakeHealth()


@pytest.fixture
def make_health() -> type[FakeHealth]:
    return FakeHealth


@pytest.fixture
def make_dns() -> type[FakeDns]:
    return FakeDns
