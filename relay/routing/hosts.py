"""The hosts file: names that this host knows without asking DNS (hosts(5)).

Smarthosts on private networks are often named there, and `localhost` nowhere else. Lines that are
not understood are passed over, as the C library does.
"""

from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

HOSTS_FILE = Path("/etc/hosts")
_LARGEST = 1_000_000

Hosts = Mapping[str, tuple[IPv4Address | IPv6Address, ...]]


def read_hosts(path: Path = HOSTS_FILE) -> Hosts:
    """The addresses of each name, lower case; empty where there is no such file to be read."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return {}
    return parse_hosts(text)


def parse_hosts(text: str) -> Hosts:
    """As `read_hosts`, from what the file holds."""
    found: dict[str, tuple[IPv4Address | IPv6Address, ...]] = {}
    for line in text.splitlines():
        fields = line.partition("#")[0].split()
        try:
            address = ip_address(fields[0]) if fields else None
        except ValueError:
            continue
        for name in fields[1:] if address is not None else ():
            key = name.lower().rstrip(".")
            known = found.get(key, ())
            if address is not None and address not in known:
                found[key] = (*known, address)
    return found
