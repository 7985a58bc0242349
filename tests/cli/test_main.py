import os
import subprocess
import sys
from pathlib import Path

import pytest

from relay import __version__
from relay.cli.main import _COMMANDS

ROOT = Path(__file__).parents[2]


def test_help_lists_every_command_with_a_sentence_and_the_exit_codes(run):
    ran = run("--help")
    assert ran.code == 0
    for name in _COMMANDS:
        assert f"│ {name} " in ran.out
    assert "Exit codes: 0 done" in ran.out


@pytest.mark.parametrize("name", [*_COMMANDS])
def test_every_command_has_help(run, name):
    ran = run(name, "--help")
    assert ran.code == 0
    assert f"Usage: relay {name}" in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("status", "--nonsense"),
        ("explain",),
        ("queue", "list", "--limit", "many"),
        ("queue", "list", "--state", "lost"),
    ],
)
def test_a_command_line_that_is_not_understood_exits_2_with_one_sentence(run, arguments):
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("relay: ")
    assert len(ran.err.splitlines()) == 2


def test_an_address_alone_is_no_message_and_needs_no_configuration_to_be_told_so(run):
    ran = run("explain", "a@b.test")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "relay: say to whom a@b.test would send: `relay explain FROM TO`\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status",),
        ("reload",),
        ("explain", "a@sender.test", "b@one.test"),
        ("send", "--to", "a@b.c"),
    ],
)
def test_what_needs_a_running_relay_exits_3_without_one(run, config_path, arguments):
    ran = run(*arguments)
    assert ran.code == 3
    assert ran.err == (
        f"relay: no relay is running on {config_path.parent / 'data'}; "
        "start it with `relay serve`\n"
    )


def test_versions_are_for_people_and_programs(run):
    assert run("--version").out.strip() == __version__
    assert run("version", "--json").json["relay"] == __version__
    assert "sqlite" in run("version").out


def test_a_missing_configuration_is_told_with_what_to_do(run, monkeypatch, tmp_path):
    monkeypatch.delenv("RELAY_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("relay.cli.place.SYSTEM_CONFIG", tmp_path / "none.yaml")
    ran = run("queue", "list")
    assert ran.code == 1
    assert "`relay init DIR` writes a first one" in ran.err


@pytest.mark.parametrize("form", ["--config {}", "-c {}"])
def test_a_configuration_may_be_named_by_its_directory(run, config_path, monkeypatch, form):
    monkeypatch.delenv("RELAY_CONFIG")
    arguments = form.format(config_path.parent).split()
    assert run("queue", "list", *arguments).code == 0


def test_the_option_goes_before_the_variable_and_this_before_the_usual_place(
    run, config_path, monkeypatch
):
    assert run("queue", "list", "--config", "other.yaml").err == (
        "relay: there is no file other.yaml (given by --config)\n"
    )
    monkeypatch.setenv("RELAY_CONFIG", "another.yaml")
    assert "given by $RELAY_CONFIG" in run("queue", "list").err
    monkeypatch.delenv("RELAY_CONFIG")
    assert run("queue", "list").code == 0


def test_all_errors_of_a_configuration_are_told_and_nothing_is_done(run, config_path):
    config_path.write_text(config_path.read_text().replace("pool: main", "pool: nope"))
    ran = run("queue", "list")
    assert ran.code == 1
    assert ran.err.count("nope") >= 2
    assert "2 problems in the configuration" in ran.err


def test_a_running_relay_answers_though_its_file_has_errors_by_now(run, running, config_path):
    config_path.write_text(config_path.read_text() + "nonsense: true\n")
    assert run("status").code == 0


def test_a_store_that_another_process_holds_is_told(run, config_path):
    from relay.store.sqlite import lock_data_dir

    with lock_data_dir(config_path.parent / "data"):
        ran = run("queue", "list")
    assert ran.code == 1
    assert "Another relay (process" in ran.err


def test_files_are_not_made_in_a_directory_of_another_user(run, config_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    ran = run("queue", "list")
    assert ran.code == 1
    assert "belongs to another user" in ran.err
    assert list((config_path.parent / "data").iterdir()) == []


def test_a_reader_that_has_enough_is_no_failure(run, config_path):
    addresses = "".join(f"{'x' * 40}{n}@one.test\n" for n in range(2_000))
    Path("list.txt").write_text(addresses)
    run("suppression", "import", "list.txt")
    command = f"{sys.executable} -m relay.cli.main suppression export | head -1"
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_daemon_loads_no_rich():
    code = (
        "import sys, relay.cli.main as m, relay.cli.serve, relay.runtime.main\n"
        "m.app.parse_args(['serve', '--config', 'x'], exit_on_error=False)\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'rich']\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_place_that_cannot_be_looked_at_is_told_in_a_sentence(run):
    ran = run("status", "--config", "x" * 300)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.endswith("x: File name too long\n")


def test_a_configuration_that_is_no_regular_file_is_told_as_such(run, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    ran = run("check-config", "--config", tmp_path / "pipe")
    assert (ran.code, ran.err) == (
        1,
        f"relay: {tmp_path}/pipe is not a regular file (given by --config)\n",
    )
