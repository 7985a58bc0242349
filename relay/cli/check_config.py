"""`relay check-config`: every problem of a configuration at once, and of this machine with it."""

from relay.cli.failures import FAILED, OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import plural, print_json, say, shown, warn
from relay.cli.place import find_config
from relay.config.load import Loaded
from relay.config.machine import check_machine
from relay.config.model import Config
from relay.config.problems import ConfigErrors, Problem, in_file_order


def check_config(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Report all errors and warnings of the configuration, each with file, line and column.

    Errors exit 1. Warnings (a source address that this host does not have, a certificate that
    expires soon, a key file that others can read) exit 0.
    """
    place = find_config(config)
    loaded: Loaded | None = None
    try:
        loaded = place.load()
        problems = in_file_order(check_machine(loaded.config, loaded.document))
    except ConfigErrors as error:
        problems = list(error.problems)
    errors = [problem for problem in problems if problem.severity == "error"]
    if as_json:
        print_json({"file": str(place.path), "ok": not errors, "problems": problems})
    else:
        _report(loaded.config if loaded else None, str(place.path), problems, len(errors))
    return FAILED if errors else OK


def _report(config: Config | None, file: str, problems: list[Problem], errors: int) -> None:
    for problem in problems:
        warn(shown(problem))
    warnings = plural(len(problems) - errors, "warning")
    if errors:
        warn(f"{file}: {plural(errors, 'error')}, {warnings}")
    elif config is not None:
        counts = f" with {warnings}" if problems else ""
        say(f"{file}: good{counts}: {summary(config)}")


def summary(config: Config) -> str:
    """What a configuration holds, in a line."""
    keys = sum(len(identity.dkim) for identity in config.identities.values())
    sources = sum(len(pool.sources) for pool in config.pools.values())
    return (
        f"{plural(len(config.listeners), 'listener')}, "
        f"{plural(len(config.credentials), 'credential')}, "
        f"{plural(len(config.identities), 'identity')} with {plural(keys, 'DKIM key')}, "
        f"{plural(len(config.configuration_sets), 'configuration set')}, "
        f"{plural(len(config.pools), 'pool')} with "
        f"{plural(sources, 'source')}, {plural(len(config.routes), 'route')}"
    )
