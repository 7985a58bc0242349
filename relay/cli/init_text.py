"""The text of a new `relay.yaml`: short, commented, and every value quoted where YAML could
misread it. Pure."""

import json
from collections.abc import Iterable, Mapping

from relay.cli.init_options import Plan


def relay_yaml(plan: Plan, selector: str, hashes: Mapping[str, str], data_dir: str) -> str:
    """The configuration for a plan; `hashes` has the password hash of each credential."""
    sections = (
        _HEAD.format(hostname=_quoted(plan.hostname), data_dir=_quoted(data_dir)),
        _section("listeners", _listeners(plan)),
        _section("credentials", _credentials(hashes)),
        _section("identities", _identities(plan, selector)),
        _section("configuration_sets", _configuration_sets(plan)),
        f"# For mail that names none.\ndefault_configuration_set: {_default_set(plan)}",
        _section("pools", _pools(plan)),
        _section("routes", _routes(plan)),
        _section("metrics", [f"address: {_quoted(str(plan.metrics))}"]),
    )
    return "\n\n".join(sections) + "\n"


_HEAD = """\
# Written by `relay init`. `relay check-config` checks it, `relay reload` puts changes in force.
# Every key there is, with its meaning: config/relay.example.yaml. Paths are relative to this file.
hostname: {hostname}
data_dir: {data_dir}

tls:
  # Clients trust it through ca.pem beside it. Put a certificate of your own here when you have one.
  certificate: tls/cert.pem
  key: tls/key.pem"""

_COMMENTS = {
    "credentials": "# Who may send. `relay credentials add NAME` adds further ones.",
    "identities": "# What mail may be sent from. The key's DNS record is beside it, in *.dns.txt.",
    "configuration_sets": "# Mail names one in X-SES-CONFIGURATION-SET. Limits: rate: 50/s, "
    "quota: 100000/day",
    "pools": "# Source addresses; each may have a weight, a rate, a quota and an ehlo name.",
    "routes": "# Where mail goes, by recipient domain: mx, or host:port.",
    "metrics": "# /metrics, /healthz and /readyz.",
}


def _section(name: str, lines: Iterable[str]) -> str:
    comment = [_COMMENTS[name]] if name in _COMMENTS else []
    return "\n".join((*comment, f"{name}:", *(f"  {line}" for line in lines)))


def _listeners(plan: Plan) -> Iterable[str]:
    for name, (endpoint, tls) in plan.listen.items():
        yield f"{name}: {{address: {_quoted(str(endpoint))}, tls: {tls}}}"


def _credentials(hashes: Mapping[str, str]) -> Iterable[str]:
    for name, encoded in hashes.items():
        yield f"{_quoted(name)}:"
        yield "  password_hashes:"
        yield f"    - {_quoted(encoded)}"


def _identities(plan: Plan, selector: str) -> Iterable[str]:
    """Keys stand at domains; an address signs with its domain's, so that is listed too."""
    for name in plan.identities:
        domain = name.rpartition("@")[2]
        yield f"{_quoted(name)}:"
        yield "  dkim:"
        yield f"    - selector: {_quoted(selector)}"
        yield f"      key: {_quoted(f'dkim/{domain}.{selector}.pem')}"


def _configuration_sets(plan: Plan) -> Iterable[str]:
    for pool in plan.pools:
        yield f"{_quoted(pool)}: {{pool: {_quoted(pool)}}}"


def _default_set(plan: Plan) -> str:
    return _quoted("default" if "default" in plan.pools else next(iter(plan.pools)))


def _pools(plan: Plan) -> Iterable[str]:
    for pool, addresses in plan.pools.items():
        yield f"{_quoted(pool)}:"
        yield "  sources:"
        for address in addresses:
            yield f"    - address: {_quoted(address)}"


def _routes(plan: Plan) -> Iterable[str]:
    for match, target in plan.routes.items():
        yield f"{_quoted(match)}: {{to: {_quoted(target)}}}"


def _quoted(text: str) -> str:
    """A YAML scalar: plain where that can only be read one way, else in double quotes."""
    if text.replace("-", "").replace("_", "").replace(".", "").isalpha() and text.lower() not in (
        "true", "false", "null", "yes", "no", "on", "off", "y", "n",
    ):  # fmt: skip
        return text
    return json.dumps(text)
