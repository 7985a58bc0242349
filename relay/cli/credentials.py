"""`relay credentials`: the passwords that are kept in the store; the rest is configuration."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from relay.admin.control import CredentialRequest, NewSecret
from relay.admin.endpoints import (
    CREDENTIALS_ADD,
    CREDENTIALS_LIST,
    CREDENTIALS_REVOKE,
    Nothing,
)
from relay.cli.desk import open_desk
from relay.cli.failures import OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption, YesOption
from relay.cli.output import moment, plural, print_json, print_table, say, warn
from relay.cli.prompts import confirm
from relay.config.passwords import make_password

app = App(
    name="credentials",
    help="Add, list and revoke the passwords with which clients log in.",
    help_format="plaintext",
)

NameArgument = Annotated[
    str, Parameter(name="NAME", help="The credential's name under `credentials:`.")
]
LONGEST_PASSWORD = 512
SHORTEST_ADVISED_PASSWORD = 16


@app.command
def add(
    name: NameArgument,
    /,
    *,
    password_file: Annotated[
        Path | None,
        Parameter(
            help="Take the password from this file (`-`: standard input); else one is made.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Give a credential a password, beside those it has, and print it once.

    Only a hash is kept. A running relay accepts it at once.
    """
    password = make_password() if password_file is None else read_password(password_file)
    with open_desk(config) as desk:
        desk.call(CREDENTIALS_ADD, NewSecret(name, password))
    if len(password) < SHORTEST_ADVISED_PASSWORD:
        warn(f"warning: machines can use {SHORTEST_ADVISED_PASSWORD} characters or more")
    made = password if password_file is None else ""
    if as_json:
        print_json({"credential": name, **({"password": made} if made else {})})
        return OK
    if made:
        warn("This password is shown once and kept nowhere:")
        say(made)
    else:
        where = "standard input" if str(password_file) == "-" else str(password_file)
        say(f"credential {name} may log in with the password of {where}")
    return OK


@app.command(name="list")
def list_credentials(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """List credentials, what each may do, and how many passwords it has."""
    with open_desk(config) as desk:
        found = desk.call(CREDENTIALS_LIST, Nothing())
    if as_json:
        print_json(found)
        return OK
    print_table(
        ("credential", "state", "passwords", "newest", "identities", "sets", "default set"),
        [
            (
                each.name,
                _state(each.in_config, each.enabled),
                _passwords(each.password_in_config, len(each.secret_created_at)),
                moment(max(each.secret_created_at, default=0)),
                each.identities or "all",
                each.configuration_sets or "all",
                each.configuration_set,
            )
            for each in found
        ],
    )
    return OK


@app.command
def revoke(
    name: NameArgument,
    /,
    *,
    yes: YesOption = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Revoke all passwords of a credential that `relay credentials add` made.

    A password in the configuration file stays: take it out there and reload.
    """
    if not yes and not confirm(f"Revoke all stored passwords of {name}?"):
        raise CommandFailed("nothing was done: answer yes, or give --yes", USAGE)
    with open_desk(config) as desk:
        answer = desk.call(CREDENTIALS_REVOKE, CredentialRequest(name))
        left = [c for c in desk.call(CREDENTIALS_LIST, Nothing()) if c.name == name]
    if as_json:
        print_json(answer)
    else:
        say(f"{plural(answer.count, 'password')} of {name} revoked")
    if any(credential.password_in_config for credential in left):
        warn(f"{name} still has a password in the configuration file; take it out and reload")
    return OK


def read_password(file: Path) -> str:
    """The first line of a file, or of standard input for `-`."""
    try:
        if str(file) == "-":
            text = sys.stdin.readline(LONGEST_PASSWORD + 2)
        else:
            with file.open(encoding="utf-8") as stream:
                text = stream.readline(LONGEST_PASSWORD + 2)
    except OSError as error:
        raise CommandFailed(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandFailed(f"{file} is not UTF-8 text") from None
    password = text.rstrip("\r\n")
    if not password:
        raise CommandFailed(f"the first line of {file} is empty; it should be the password")
    if len(password) > LONGEST_PASSWORD:
        raise CommandFailed(f"the password in {file} has more than {LONGEST_PASSWORD} characters")
    return password


def _state(in_config: bool, enabled: bool) -> str:
    if not in_config:
        return "not configured"
    return "enabled" if enabled else "disabled"


def _passwords(in_config: bool, stored: int) -> str:
    parts = ([f"{stored} stored"] if stored else []) + (["configuration"] if in_config else [])
    return " + ".join(parts) or "none"
