import pytest

from relay.cli.main import main


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What `relay init` writes; made once, for it makes RSA keys."""
    directory = tmp_path_factory.mktemp("made") / "relay"
    arguments = ["init", str(directory), "--yes", "--hostname", "relay.test"]
    arguments += ["--identity", "sender.test", "--source", "127.0.0.1"]
    assert main(arguments) == 0
    return directory


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of it to be spoiled."""
    path = made / "relay.yaml"
    text = path.read_text()
    monkeypatch.setenv("RELAY_CONFIG", str(path))
    yield path
    path.write_text(text)


def test_a_good_configuration_says_what_it_holds(run, here):
    ran = run("check-config")
    assert ran.code == 0
    assert "good: 1 listener, 1 credential, 1 identity with 1 DKIM key" in ran.out
    assert ran.err == ""


def test_every_error_is_told_with_its_place(run, here):
    here.write_text(here.read_text().replace("pool:", "pol:") + "nonsense: 1\n")
    ran = run("check-config")
    assert ran.code == 1
    assert ran.out == ""
    *problems, last = ran.err.splitlines()
    assert len(problems) >= 2
    assert all(problem.startswith(f"{here}:") for problem in problems)
    assert "did you mean pool?" in ran.err
    assert "errors, 0 warnings" in last


def test_programs_get_every_problem_as_json(run, here):
    here.write_text(here.read_text() + "nonsense: 1\n")
    found = run("check-config", "--json")
    assert found.code == 1
    assert found.json["ok"] is False
    assert found.json["problems"][0]["key"] == "nonsense"


def test_warnings_are_shown_and_exit_0(run, here):
    here.write_text(
        here.read_text()
        .replace("127.0.0.1}", "192.0.2.1}")
        .replace("address: 127.0.0.1\n", "address: 192.0.2.1\n")
    )
    key = next((here.parent / "dkim").glob("*.pem"))
    key.chmod(0o644)
    ran = run("check-config")
    key.chmod(0o600)
    assert ran.code == 0
    assert "warning" in ran.err
    assert "good with" in ran.out


def test_warnings_and_errors_come_in_the_order_of_the_file(run, here):
    key = next((here.parent / "dkim").glob("*.pem"))
    here.write_text(
        here.read_text().replace(key.name, "gone.pem").replace("127.0.0.1", "192.0.2.1")
    )
    found = run("check-config", "--json").json["problems"]
    places = [(problem["line"], problem["column"]) for problem in found]
    assert {problem["severity"] for problem in found} == {"warning", "error"}
    assert places == sorted(places)
