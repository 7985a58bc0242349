"""`relay config`: the configuration that the relays of a fleet share."""

from cyclopts import App

from relay.admin.client import Client
from relay.admin.endpoints import CONFIG_PUBLISH, CONFIG_SHOW, CONFIG_UNPUBLISH, Nothing
from relay.cli.desk import open_desk
from relay.cli.failures import FAILED, OK
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, print_json, say, shown, warn
from relay.cli.place import find_config
from relay.config.document import read_document
from relay.config.published import differing_keys, without_secrets

app = App(name="config", help="The configuration that the relays of a fleet share.")


@app.command
def publish(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Make this node's file the configuration of the fleet: its common sections are stored, and
    every node puts them in force within a second, or is flagged in `relay nodes`.

    Exits 1 when the file was refused; nothing is changed then.
    """
    answer = Client(find_config(config).data_dir()).call(CONFIG_PUBLISH, Nothing())
    if as_json:
        print_json(answer)
    else:
        for problem in answer.problems:
            warn(shown(problem))
        say(f"published: epoch {answer.epoch}; `relay nodes` shows who follows")
    return OK if answer.followed else FAILED


@app.command
def show(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Show the published configuration: its epoch, who published it and when, and the document.

    Hashes of passwords are not shown. Exits 1 where nothing is published.
    """
    with open_desk(config) as desk:
        found = desk.call(CONFIG_SHOW, Nothing())
    text = without_secrets(found.document)
    if as_json:
        print_json(
            {
                "epoch": found.epoch,
                "published_at": found.published_at,
                "published_by": found.published_by,
                "document": text,
            }
        )
        return OK
    by = shown(found.published_by)
    say(f"# epoch {found.epoch}, published by {by} on {moment(found.published_at)}")
    say(text.rstrip("\n"))
    return OK


@app.command
def diff(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Name the keys that this file has otherwise than the published configuration.

    Names only, never values. Exits 1 where there are some, or nothing is published.
    """
    with open_desk(config) as desk:
        found = desk.call(CONFIG_SHOW, Nothing())
    keys = differing_keys(read_document(find_config(config).path), found.document)
    if as_json:
        print_json({"epoch": found.epoch, "differs": keys})
    else:
        for key in keys or (f"as published in epoch {found.epoch}",):
            say(shown(key))
    return FAILED if keys else OK


@app.command
def unpublish(*, config: ConfigOption = None, as_json: JsonOption = False) -> int:
    """Have every node follow its own file again, at once."""
    with open_desk(config) as desk:
        changed = desk.call(CONFIG_UNPUBLISH, Nothing())
    if as_json:
        print_json(changed)
    else:
        say("nothing is published any more: each node follows its own file")
    return OK
