"""Options that several commands share, so that they are named and explained alike everywhere."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

ConfigOption = Annotated[
    Path | None,
    Parameter(
        name=["--config", "-c"],
        help="Configuration file. Default: $RELAY_CONFIG, else ./relay.yaml, else "
        "/etc/relay/relay.yaml.",
    ),
]
JsonOption = Annotated[
    bool, Parameter(name="--json", negative="", help="Print JSON for programs, not a table.")
]
YesOption = Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Ask nothing.")]
