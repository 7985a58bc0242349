"""Which source addresses this host has.

An address that is not on this host is skipped, with one warning and the metric `source_available`
at 0, and tested again with every probe, so that it serves again once an interface carries it. The
test is a bind to port 0 of the address: it sends nothing and takes microseconds. Where the kernel
allows binding to foreign addresses (`ip_nonlocal_bind`) every address passes.

Operators may have an address rest (`relay suspend source`); then it is not used, though it is here.

Owns what is known about each address. Never chooses a source and never sends. Fails towards
waiting: an address in doubt is not used, and no other takes its place.
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Protocol

from relay.config.model import Config
from relay.observe.logging import Logger
from relay.observe.metrics import Metrics

PROBE_INTERVAL_S = 15.0


class Availability(Protocol):
    """What choosing a source needs to know."""

    @property
    def version(self) -> int:
        """A number that changes whenever an answer of `fault` may have changed."""

    def fault(self, address: str) -> str:
        """Why the address cannot be used, as a clause; `""` where it can."""


def bind_fault(address: str) -> str:
    """`""` where this host can send from `address`, else the reason as a clause."""
    family = socket.AF_INET if ip_address(address).version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV):
            return "this host does not have the address"
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            return ""  # the host is short of descriptors or memory, which says nothing of this one
        return f"cannot bind to it ({os.strerror(error.errno or 0)})"
    return ""


class SourceHealth:
    """What is known about the source addresses of the configuration in force."""

    def __init__(
        self,
        config: Config,
        metrics: Metrics,
        log: Logger,
        *,
        bind: Callable[[str], str] = bind_fault,
    ) -> None:
        self.version = 0
        self._metrics = metrics
        self._log = log
        self._bind = bind
        self._faults: dict[str, str] = {}
        self._resting: Mapping[str, str] = {}
        self._pools: dict[str, list[str]] = {}
        self.reconfigure(config)

    def __repr__(self) -> str:
        return f"<SourceHealth {len(self._pools)} addresses, {len(self._faults)} unavailable>"

    def reconfigure(self, config: Config) -> None:
        """Take over the addresses of `config` and test them all at once."""
        pools: dict[str, list[str]] = {}
        for name, pool in config.pools.items():
            for source in pool.sources:
                pools.setdefault(str(source.address), []).append(name)
        for address, names in self._pools.items():
            for name in set(names) - set(pools.get(address, ())):
                self._metrics.source_available.remove(name, address)
        self._pools = pools
        self._faults = {a: fault for a, fault in self._faults.items() if a in pools}
        self.version += 1
        self.probe()

    def rest(self, addresses: Mapping[str, str]) -> None:
        """Do not use these addresses, each with the reason; all others as far as they are there."""
        if addresses != self._resting:
            self._resting = addresses
            self.version += 1

    def available(self, address: str) -> bool:
        return not self.fault(address)

    def fault(self, address: str) -> str:
        return self._resting.get(address) or self._faults.get(address, "")

    def mark_unavailable(self, address: str, reason: str) -> None:
        """Skip the address from now on, until a probe finds it again."""
        if self._faults.get(address) == reason:
            return
        newly = address not in self._faults
        self._faults[address] = reason
        self.version += 1
        self._show(address, 0)
        if newly:
            self._log.warning(
                "source address cannot be used: it is skipped, its pool sends from the others",
                source=address,
                pools=self._pools.get(address, []),
                reason=reason,
            )

    def suspect(self, address: str) -> bool:
        """Test an address now, after a connection from it failed to bind; True if it is there.

        A full table of ports fails to bind as well, and is no reason to give the address up.
        """
        self._test(address)
        return address not in self._faults

    def probe(self) -> None:
        """Test every address; log and count what changed."""
        for address in self._pools:
            self._test(address)

    async def run(self, interval_s: float = PROBE_INTERVAL_S) -> None:
        """Probe for ever, every `interval_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(interval_s)
            self.probe()

    def _test(self, address: str) -> None:
        reason = self._bind(address)
        if reason:
            self.mark_unavailable(address, reason)
            return
        if self._faults.pop(address, None) is not None:
            self.version += 1
            self._log.info(
                "source address serves again",
                source=address,
                pools=self._pools.get(address, []),
            )
        self._show(address, 1)

    def _show(self, address: str, value: int) -> None:
        for pool in self._pools.get(address, ()):
            self._metrics.source_available.labels(pool, address).set(value)
