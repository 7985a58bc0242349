"""`relay serve`: the relay itself, in the foreground."""

from typing import Annotated

from cyclopts import Parameter

from relay.cli.options import ConfigOption
from relay.cli.place import find_config


def serve(
    *,
    config: ConfigOption = None,
    first_start: Annotated[
        bool,
        Parameter(
            negative="",
            help="Make what the configuration names and is not there yet: a development "
            "certificate, DKIM keys, a password for each credential (printed once).",
        ),
    ] = False,
) -> int:
    """Run the relay in the foreground.

    SIGTERM and SIGINT end it gracefully, SIGHUP reloads the configuration. Logs go to standard
    error.
    """
    path = find_config(config).path
    if first_start:
        from relay.cli.init_command import complete  # noqa: PLC0415 - first starts only

        complete(path)
    from relay.runtime.main import serve as run  # noqa: PLC0415 - no other command needs it

    return run(path)
