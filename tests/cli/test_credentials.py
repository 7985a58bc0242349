import io
import sys

import pytest

from tests.admin.stored import operations_over


def test_a_password_is_made_and_printed_once_alone_on_standard_output(run, anywhere):
    ran = run("credentials", "add", "app")
    assert ran.code == 0
    password = ran.out.strip()
    assert len(password) == 40
    assert password not in ran.err
    for command in (("list",), ("list", "--json")):
        assert password not in run("credentials", *command).out


def test_a_password_may_come_from_a_file(run, anywhere, tmp_path):
    file = tmp_path / "password"
    file.write_text("correct horse battery\n")
    ran = run("credentials", "add", "app", "--password-file", file)
    assert ran.code == 0
    assert "correct horse" not in ran.out + ran.err


def test_a_password_may_come_from_standard_input(run, config_path, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("correct horse battery\n"))
    assert run("credentials", "add", "app", "--password-file", "-", "--json").json == {
        "credential": "app"
    }


def test_a_running_relay_is_told_of_a_new_password(run, running):
    relay, _ = running
    told = []

    async def secrets_changed():
        told.append(True)

    object.__setattr__(relay.operations, "secrets_changed", secrets_changed)
    run("credentials", "add", "app")
    assert told == [True]


def test_credentials_are_listed_with_what_each_may_do(run, anywhere):
    run("credentials", "add", "app")
    listed = {each["name"]: each for each in run("credentials", "list", "--json").json}
    assert len(listed["app"]["secret_created_at"]) == 1
    assert listed["web"]["enabled"] is False
    out = run("credentials", "list").out
    assert "1 stored" in out
    assert "disabled" in out


def test_revoking_needs_a_yes_and_ends_all_stored_passwords(run, anywhere):
    run("credentials", "add", "app")
    run("credentials", "add", "app")
    assert run("credentials", "revoke", "app").code == 2
    assert run("credentials", "revoke", "app", "--yes").out == "2 passwords of app revoked\n"
    (app, _) = run("credentials", "list", "--json").json
    assert app["secret_created_at"] == []
    assert app["revoked_secrets"] == 2


def test_a_password_that_the_configuration_holds_is_said_to_stay(run, config_path):
    text = config_path.read_text().replace("app: {}", "app: {password: correct horse battery}")
    config_path.write_text(text)
    assert "take it out and reload" in run("credentials", "revoke", "app", "--yes").err


def test_an_unknown_credential_is_told_with_those_there_are(run, anywhere):
    ran = run("credentials", "add", "nope")
    assert ran.code == 1
    assert "there: app, web" in ran.err
    assert ran.out == ""


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"\xff\n", "not UTF-8"),
        (b"x" * 600, "more than 512"),
        (b"short", "5 ch"),
    ],
)
def test_a_password_file_that_cannot_be_used_is_told(run, config_path, tmp_path, content, why):
    file = tmp_path / "password"
    file.write_bytes(content)
    ran = run("credentials", "add", "app", "--password-file", file)
    assert ran.code == 1
    assert why in ran.err


async def test_only_hashes_are_in_the_data_directory(config_path, tmp_path):
    from relay.admin.control import NewSecret

    async with operations_over(tmp_path / "data") as operations:
        await operations.add_secret(NewSecret("app", "correct horse battery"))
    for file in (tmp_path / "data").rglob("*"):
        if file.is_file():
            assert b"correct horse" not in file.read_bytes()
