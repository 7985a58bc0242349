"""`relay version`."""

import platform
import sqlite3
import ssl

from relay import __version__
from relay.cli.options import JsonOption
from relay.cli.output import print_facts, print_json


def version(*, as_json: JsonOption = False) -> None:
    """Print the versions of relay and of what it rests on."""
    versions = {
        "relay": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
    }
    if as_json:
        print_json(versions)
    else:
        print_facts(versions.items())
