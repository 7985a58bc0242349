"""Small configurations, and what follows from them."""

from pathlib import Path
from typing import Any

from relay.config.model import Config
from relay.limits.shapes import Shapes
from relay.limits.specs import Specs, config_limits


def make_config(**sections: Any) -> Config:
    """Two sources, 192.0.2.1 and 192.0.2.2, and the sections given."""
    values: dict[str, Any] = {
        "hostname": "relay.example.com",
        "data_dir": Path("/nonexistent"),
        "tls": {"certificate": Path("c.pem"), "key": Path("k.pem")},
        "listeners": {"submission": {"address": "192.0.2.1:587"}},
        "identities": {"example.com": {}},
        "configuration_sets": {"news": {"pool": "main"}},
        "pools": {"main": {"sources": [{"address": "192.0.2.1"}, {"address": "192.0.2.2"}]}},
    }
    return Config.model_validate({**values, **sections})


def specs(**sections: Any) -> Specs:
    """The limits of a configuration."""
    return config_limits(make_config(**sections))


def shapes(**sections: Any) -> Shapes:
    """The shapes of a configuration."""
    return Shapes(make_config(**sections))
