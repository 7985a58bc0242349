import re
from pathlib import Path

import pytest

from relay.cli.main import _COMMANDS, app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
EVERYWHERE = {"--config", "-c", "--json", "-y"}


ALSO_ALONE = {"nodes"}  # does something without a sub-command too


def commands():
    for name in _COMMANDS:
        command = app[name]
        below = [other for other in command if not other.startswith("-")]
        for other in below:
            yield f"relay {name} {other}", command[other]
        if not below or name in ALSO_ALONE:
            yield f"relay {name}", command


COMMANDS = list(commands())


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_the_page_describes_every_command_and_option(name, command):
    heading = re.search(rf"^### `{name}\b[^`]*`$", PAGE, re.MULTILINE)
    assert heading, f"docs/cli.md has no heading for `{name}`"
    options = {
        option
        for argument in command.assemble_argument_collection()
        for option in argument.names
        if option.startswith("-")
    }
    missing = [option for option in options - EVERYWHERE if f"`{option}" not in PAGE]
    assert not missing


def test_the_page_has_no_command_that_is_not_there():
    described = set(re.findall(r"^### `relay ([a-z -]+)\b", PAGE, re.MULTILINE))
    known = {name.removeprefix("relay ") for name, _ in commands()}
    assert {name.strip() for name in described} == known
