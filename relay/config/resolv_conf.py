"""The name servers that this host is set up with (resolv.conf(5)), and whose word is believed."""

from pathlib import Path

from relay.config.model import Config
from relay.config.names import Endpoint, parse_nameserver

RESOLV_CONF = Path("/etc/resolv.conf")
_LARGEST = 64 * 1024


def host_name_servers(path: Path = RESOLV_CONF) -> tuple[Endpoint, ...]:
    """The name servers of the host; none where the file is not there or names none."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode("utf-8", "replace")
    except OSError:
        return ()
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                found.append(parse_nameserver(words[1].partition("%")[0]))
            except ValueError:
                continue
    return tuple(found)


def untrusted_name_servers(config: Config, path: Path = RESOLV_CONF) -> tuple[Endpoint, ...]:
    """Those that would be asked and whose word on DNSSEC is worth nothing: an attacker may stand
    between them and this host."""
    asked = [parse_nameserver(text) for text in config.delivery.nameservers]
    trusted = {parse_nameserver(text) for text in config.transport.trusted_nameservers}
    return tuple(
        server
        for server in asked or host_name_servers(path)
        if server not in trusted and not (server.address and server.address.is_loopback)
    )
