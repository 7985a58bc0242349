"""The command `relay`: what it is made of, and how every command ends.

Sub-commands live in modules of their own, loaded when they are called. Expected failures become one
sentence on standard error and an exit code of `relay.cli.failures`; a traceback is a fault of ours.
"""

import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError, Parameter

from relay import __version__
from relay.admin.client import NotAllowed, NotRunning
from relay.admin.control import Refused
from relay.cli.failures import FAILED, INTERRUPTED, NOT_RUNNING, OK, USAGE, CommandFailed
from relay.cli.output import plural, shown, warn
from relay.config.problems import ConfigErrors
from relay.store.interface import StoreError

_EPILOGUE = (
    "Exit codes: 0 done, 1 a problem was found or the command failed, 2 the command line was not "
    "understood, 3 no relay is running where one is needed."
)

_EXPECTED = (
    CommandFailed,
    ConfigErrors,
    CycloptsError,
    NotAllowed,
    NotRunning,
    OSError,  # a file or a directory that this user may not use, most often
    Refused,
    StoreError,
)

app = App(
    name="relay",
    help="A mail relay with configuration sets, dedicated IP pools, suppression, quotas and DKIM.",
    help_epilogue=_EPILOGUE,
    help_format="plaintext",
    version=__version__,
    default_parameter=Parameter(show_default=False),
)

_COMMANDS = {
    "serve": "relay.cli.serve:serve",
    "check-config": "relay.cli.check_config:check_config",
    "init": "relay.cli.init_command:init",
    "status": "relay.cli.live:status",
    "reload": "relay.cli.live:reload",
    "explain": "relay.cli.explain:explain",
    "send": "relay.cli.send:send",
    "store": "relay.cli.store:app",
    "queue": "relay.cli.queue:app",
    "top": "relay.cli.top:top",
    "nodes": "relay.cli.nodes:app",
    "config": "relay.cli.published:app",
    "drain": "relay.cli.drain:drain",
    "tls": "relay.cli.tls:app",
    "pools": "relay.cli.pools:pools",
    "warmup": "relay.cli.pools:app",
    "suspend": "relay.cli.suspend:suspend",
    "resume": "relay.cli.suspend:resume",
    "suspensions": "relay.cli.suspend:suspensions",
    "providers": "relay.cli.providers:app",
    "reactions": "relay.cli.reactions:app",
    "bounces": "relay.cli.bounces:app",
    "returns": "relay.cli.returns:app",
    "messages": "relay.cli.messages:app",
    "events": "relay.cli.events:app",
    "reputation": "relay.cli.reputation:app",
    "suppression": "relay.cli.suppression:app",
    "credentials": "relay.cli.credentials:app",
    "dkim": "relay.cli.dkim:app",
    "version": "relay.cli.version:version",
}
for _order, (_name, _target) in enumerate(_COMMANDS.items()):
    app.command(_target, name=_name, sort_key=_order)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0].startswith("-"):
        for name in _COMMANDS:
            app[name]  # the list of commands has a line of each one's help
    try:
        code = app(given, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except (*_EXPECTED, KeyboardInterrupt) as error:
        return _end(error)
    return code if isinstance(code, int) else OK


def _end(error: BaseException) -> int:
    """Tell why a command ended early, and give its exit code."""
    match error:
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            # The reader has enough (`relay … | head`). Python would complain at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return OK
        case OSError(strerror=str(said), filename=str(name)):
            warn(f"relay: {shown(name)}: {said}")
            return FAILED
        case ConfigErrors():
            for problem in error.problems:
                warn(shown(problem))
            warn(f"relay: {plural(len(error.problems), 'problem')} in the configuration")
            return FAILED
        case CycloptsError():
            warn(f"relay: {' '.join(str(error).split())}")
            warn("`relay --help` and `relay COMMAND --help` say what is understood.")
            return USAGE
    for line in str(error).splitlines() or [""]:
        warn(f"relay: {shown(line)}")
    return _code(error)


def _code(error: BaseException) -> int:
    if isinstance(error, CommandFailed):
        return error.code
    return NOT_RUNNING if isinstance(error, NotRunning) else FAILED


if __name__ == "__main__":
    sys.exit(main())
