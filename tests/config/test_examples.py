"""Every example configuration loads without a problem, and the complete one is complete."""

import re
import types
from pathlib import Path
from typing import Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from relay.config.load import load, load_config
from relay.config.model import Config
from relay.config.passwords import hash_password

EXAMPLES = Path(__file__).parents[2] / "config"


def test_the_complete_example_loads_as_it_is() -> None:
    load(EXAMPLES / "relay.example.yaml", {})


def test_the_development_configuration_loads_once_its_secret_is_there(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "var").mkdir()
    file = tmp_path / "config/dev.yaml"
    file.write_text((EXAMPLES / "dev.yaml").read_text())
    (tmp_path / "var/app.hash").write_text(hash_password("x") + "\n")

    config = load_config(file, {})

    assert config.listeners["submission"].address == "127.0.0.1:2587"
    assert config.metrics.address == "127.0.0.1:2580"
    assert config.simulator
    assert config.routes["*"].to == config.simulator.address
    assert all(
        source.address.is_loopback for pool in config.pools.values() for source in pool.sources
    )


def test_the_complete_example_has_every_key_with_a_comment_or_a_section() -> None:
    text = (EXAMPLES / "relay.example.yaml").read_text()
    written = set(re.findall(r"^[\s#-]*([a-z_]+):", text, re.MULTILINE))

    assert keys_of(Config) - written == set()


@pytest.mark.parametrize("section", ["bounds", "delivery", "retry", "store", "logging", "shutdown"])
def test_the_values_of_the_example_are_the_defaults_where_it_says_so(section: str) -> None:
    config = load_config(EXAMPLES / "relay.example.yaml", {})

    assert getattr(config, section) == type(getattr(config, section))()


def keys_of(kind: object) -> set[str]:
    """Every key that a section, and the sections in it, may have."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        inner = (keys_of(field.annotation) for field in kind.model_fields.values())
        return set(kind.model_fields).union(*inner)
    if get_origin(kind) is Union or isinstance(kind, types.UnionType) or get_args(kind):
        return set().union(*map(keys_of, get_args(kind)))
    return set()
