"""`relay init`: asks for what it was not told, writes a first configuration, says what comes next.

`relay.cli.init` makes the files. Here are the options, the questions, the guesses behind them and
what is printed. A password that was made is printed once, to standard output.
"""

import re
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from relay.cli.failures import OK, CommandFailed
from relay.cli.init import InitError, InitOptions, InitResult, first_start, initialise
from relay.cli.options import JsonOption, YesOption
from relay.cli.output import print_json, say, warn
from relay.cli.prompts import ask, at_terminal

_SPLIT = re.compile(r"[,\s]+")

Repeated = tuple[str, ...]


def _option(name: str, text: str) -> Parameter:
    return Parameter(name=name, help=text, negative="")


def init(
    directory: Annotated[Path, Parameter(name="DIR", help="Where to write; made if missing.")],
    /,
    *,
    hostname: Annotated[str, _option("--hostname", "The relay's own full name.")] = "",
    listen: Annotated[
        Repeated,
        _option(
            "--listen",
            "ADDRESS:PORT for clients. 465 and 2465 get TLS from the start, others STARTTLS; "
            "/implicit or /starttls after the port says otherwise. May repeat.",
        ),
    ] = (),
    identity: Annotated[
        Repeated, _option("--identity", "Domain or address to send from. May repeat.")
    ] = (),
    source: Annotated[
        Repeated,
        _option("--source", "Source ADDRESS, or POOL=ADDRESS. May repeat."),
    ] = (),
    route: Annotated[
        Repeated,
        _option("--route", "MATCH=TARGET, as *=mx or example.com=10.0.0.5:25. May repeat."),
    ] = (),
    credential: Annotated[
        Repeated, _option("--credential", "Name that clients log in with. May repeat.")
    ] = (),
    password_file: Annotated[
        tuple[Path, ...],
        _option(
            "--password-file",
            "Password of the credential in the same place; without one it is made and printed.",
        ),
    ] = (),
    metrics: Annotated[
        str, _option("--metrics", "ADDRESS:PORT of /metrics, /healthz, /readyz.")
    ] = "",
    data_dir: Annotated[
        str,
        _option("--data-dir", "Where mail is kept. Default: DIR/data; /var/lib/relay for /etc."),
    ] = "",
    force: Annotated[
        bool, Parameter(negative="", help="Replace an existing relay.yaml; keys are kept.")
    ] = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> int:
    """Write a first configuration with certificate, DKIM keys and credentials beside it.

    On a terminal it asks for what was not given; with --yes, or elsewhere, it takes the usual.
    """
    asking = not yes and at_terminal()
    hostname = hostname or _asked(asking, "Full name of this relay", _own_name())
    parent = hostname.partition(".")[2]
    usual = parent if "." in parent else hostname  # never a whole top-level domain
    identities = identity or _words(_asked(asking, "Domains to send from", usual))
    listening = listen or _words(_asked(asking, "Listen for clients on", "127.0.0.1:2587"))
    sources = source or _words(_asked(asking, "Source addresses for outgoing mail", _own_address()))
    defaults = InitOptions(hostname=hostname, identities=identities, sources=sources)
    options = InitOptions(
        hostname=hostname,
        listen=listening,
        identities=identities,
        sources=sources,
        routes=route or defaults.routes,
        credentials=credential or defaults.credentials,
        password_files=password_file,
        metrics=metrics or defaults.metrics,
        data_dir=data_dir,
        force=force,
    )
    try:
        made = initialise(directory, options)
    except InitError as error:
        raise CommandFailed("\n".join(error.problems)) from None
    except OSError as error:
        raise CommandFailed(_cannot_write(error, directory)) from None
    if as_json:
        print_json(_for_programs(made))
    else:
        _report(made, listening[0])
    return OK


def complete(config: Path) -> None:
    """Make what an existing configuration names and is not there, and say so (first start)."""
    try:
        made = first_start(config)
    except InitError as error:
        raise CommandFailed("\n".join(error.problems)) from None
    except OSError as error:
        raise CommandFailed(_cannot_write(error, config.parent)) from None
    for path in made.created:
        say(f"made {path}")
    _print_passwords(made)


def _asked(asking: bool, question: str, default: str) -> str:
    return ask(question, default) if asking else default


def _words(text: str) -> Repeated:
    return tuple(word for word in _SPLIT.split(text) if word)


def _own_name() -> str:
    name = socket.getfqdn()
    return name if "." in name and not name.endswith(".arpa") else f"{socket.gethostname()}.test"


def _own_address() -> str:
    """The address that this host would send from; nothing is sent to find out."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 25))
        except OSError:
            return "127.0.0.1"
        return str(ip_address(probe.getsockname()[0]))


def _report(made: InitResult, listening: str) -> None:
    for path in made.created:
        say(f"made {path}")
    for path in made.kept:
        say(f"kept {path}")
    for warning in made.warnings:
        warn(f"warning: {warning}")
    _print_passwords(made)
    if made.dns_records:
        say()
        say("Publish in DNS, so that signatures verify:")
        for record in made.dns_records:
            say(f"  {record}")
    say()
    say("Next:")
    say(f"  relay check-config --config {made.config_path}")
    say(f"  relay serve --config {made.config_path}")
    if made.credentials:
        say(f"  relay send --config {made.config_path} --to someone@example.net")
    if made.authority is not None:
        say()
        say(f"Clients connect to {listening.partition('/')[0]} and trust {made.authority}.")


def _print_passwords(made: InitResult) -> None:
    new = [credential for credential in made.credentials if credential.made]
    if not new:
        return
    say()
    say("Passwords, shown once and kept nowhere in clear:")
    for credential in new:
        say(f"  {credential.name}  {credential.password}")


def _for_programs(made: InitResult) -> dict[str, object]:
    return {
        "config": str(made.config_path),
        "authority": str(made.authority) if made.authority else None,
        "created": [str(path) for path in made.created],
        "kept": [str(path) for path in made.kept],
        "credentials": [
            {"name": c.name, **({"password": c.password} if c.made else {})}
            for c in made.credentials
        ],
        "dns_records": made.dns_records,
        "warnings": made.warnings,
    }


def _cannot_write(error: OSError, directory: Path) -> str:
    return f"cannot write {error.filename or directory}: {error.strerror}"
