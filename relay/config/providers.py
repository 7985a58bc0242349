"""The providers of a configuration: its own over those that are shipped, key by key."""

from collections.abc import Mapping
from functools import cache

from relay.config.model import Config, Name
from relay.config.section import Section
from relay.config.shaping import DEFAULT, Provider
from relay.config.shipped import read_shipped

PROVIDERS_FILE = "providers.yaml"


class ShippedProviders(Section):
    """The file `relay/shipped/providers.yaml`."""

    providers: Mapping[Name, Provider]


@cache
def shipped_providers() -> Mapping[str, Provider]:
    """The definitions that come with relay, by name."""
    return read_shipped(PROVIDERS_FILE, ShippedProviders).providers


def providers_of(config: Config) -> dict[str, Provider]:
    """Every definition in force, by name: the shipped ones first, `default` not among them.

    A definition of the configuration replaces the keys that it gives; it is new where no shipped
    one has its name.
    """
    merged = dict(shipped_providers())
    for name, own in config.providers.items():
        known = merged.get(name)
        merged[name] = known.model_copy(update=_given(own)) if known is not None else own
    merged.pop(DEFAULT, None)
    return merged


def _given(section: Section) -> dict[str, object]:
    return {key: getattr(section, key) for key in section.model_fields_set}
