"""`relay providers`: whom the relay knows, and how it sends to them."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from cyclopts import App, Parameter

from relay.cli.failures import OK, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import print_json, print_table
from relay.cli.place import find_config
from relay.config.model import Config
from relay.config.problems import did_you_mean
from relay.config.providers import PROVIDERS_FILE, providers_of
from relay.config.shaping import DEFAULT, Provider
from relay.config.shipped import shipped_text
from relay.limits.shapes import Shape, Shapes

app = App(
    name="providers",
    help="Show the definitions of providers, and the limits in force for them.",
    help_format="plaintext",
)


@dataclass(frozen=True, slots=True)
class InForce:
    """How the sources of `pools` send to a provider, for programs. Rates are as written; `quota`
    and `connection_rate` are empty where there is none."""

    provider: str
    domains: tuple[str, ...]
    exchanges: tuple[str, ...]
    pools: tuple[str, ...]
    connections: int
    messages_per_connection: int
    recipients: int
    rates: tuple[str, ...]
    quota: int | None
    connection_rate: str


@app.default
@app.command(name="list")
def list_providers(
    name: Annotated[str, Parameter(name="NAME", help="One definition only.")] = "",
    /,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """List the definitions: what they match, and what one source of each pool sends to them at
    most. `default` is every destination that none matches. Needs no running relay."""
    loaded = find_config(config).config()
    known = {**providers_of(loaded), DEFAULT: Provider()}
    if name and name not in known:
        raise CommandFailed(f"no provider {name}; {did_you_mean(name, known)}".rstrip("; "))
    chosen = {name: known[name]} if name else known
    found = [row for each, who in chosen.items() for row in in_force(loaded, each, who)]
    if as_json:
        print_json(found)
        return OK
    print_table(
        ("provider", "matches", "pools", "connections", "messages", "recipients", "rate", "opened"),
        [_row(row, whole=bool(name)) for row in found],
    )
    return OK


@app.command
def show() -> int:
    """Print the definitions that ship with relay, as they may be copied into the configuration."""
    sys.stdout.write(shipped_text(PROVIDERS_FILE))
    return OK


def in_force(config: Config, name: str, who: Provider) -> Iterator[InForce]:
    """How each pool sends to a provider; pools that send alike are told together."""
    shapes = Shapes(config)
    alike: dict[Shape, list[str]] = {}
    for pool, section in config.pools.items():
        alike.setdefault(shapes.in_pool(section.providers, name), []).append(pool)
    for shape, pools in alike.items():
        yield InForce(
            provider=name,
            domains=who.domains or (),
            exchanges=who.exchanges or (),
            pools=tuple(pools) if len(alike) > 1 else (),
            connections=shape.connections,
            messages_per_connection=shape.messages_per_connection,
            recipients=shape.recipients,
            rates=tuple(map(str, shape.rates)),
            quota=shape.quota,
            connection_rate=str(shape.connection_rate or ""),
        )


def _row(row: InForce, *, whole: bool) -> tuple[str, ...]:
    who = [*(f"*.{suffix}" for suffix in row.exchanges), *row.domains]
    rates = [*row.rates, *([f"{row.quota:,}/day"] if row.quota else [])]
    return (
        row.provider,
        ", ".join(who) if whole else _few(who),
        ", ".join(row.pools) or "all",
        str(row.connections),
        str(row.messages_per_connection),
        str(row.recipients),
        ", ".join(rates) or "any",
        row.connection_rate or "any",
    )


def _few(names: list[str]) -> str:
    if not names:
        return "all others"
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
