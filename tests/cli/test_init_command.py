import io
import shlex

import pytest

from relay.cli import init_command, prompts
from relay.config.load import load_config
from relay.config.passwords import verify

OPTIONS = shlex.split(
    "--hostname relay.test --listen 127.0.0.1:2525 --identity sender.test --source 127.0.0.2 "
    "--route '*=127.0.0.1:2526' --credential app --metrics 127.0.0.1:2580"
)


def test_everything_is_written_and_the_password_is_printed_once(run, tmp_path):
    ran = run("init", tmp_path / "new", "--yes", *OPTIONS)
    assert ran.code == 0
    config = load_config(tmp_path / "new" / "relay.yaml")
    (line,) = [line for line in ran.out.splitlines() if line.startswith("  app  ")]
    password = line.split()[1]
    assert ran.out.count(password) == 1
    assert verify(password, config.credentials["app"].password_hashes[0])
    assert config.metrics.address == "127.0.0.1:2580"
    assert "relay serve --config" in ran.out
    assert "_domainkey.sender.test. IN TXT" in ran.out
    assert str(tmp_path / "new" / "tls" / "ca.pem") in ran.out


def test_a_password_of_ones_own_is_not_printed(run, tmp_path):
    file = tmp_path / "password"
    file.write_text("correct horse battery\n")
    ran = run("init", tmp_path / "new", "--yes", *OPTIONS, "--password-file", file)
    assert ran.code == 0
    assert "correct horse" not in ran.out + ran.err
    config = load_config(tmp_path / "new" / "relay.yaml")
    assert verify("correct horse battery", config.credentials["app"].password_hashes[0])


def test_options_may_repeat(run, tmp_path):
    ran = run(
        *("init", tmp_path / "new", "--yes", *OPTIONS),
        *("--listen", "127.0.0.1:2465", "--identity", "other.test"),
        *("--source", "bulk=127.0.0.3", "--route", "x.test=mx", "--credential", "web", "--json"),
    )
    config = load_config(tmp_path / "new" / "relay.yaml")
    assert {listener.tls for listener in config.listeners.values()} == {"starttls", "implicit"}
    assert set(config.identities) == {"sender.test", "other.test"}
    assert set(config.pools) == {"default", "bulk"}
    assert set(config.routes) == {"*", "x.test"}
    assert [each["name"] for each in ran.json["credentials"]] == ["app", "web"]


def test_every_mistake_is_told_at_once_and_nothing_is_written(run, tmp_path):
    ran = run("init", tmp_path / "new", "--yes", "--hostname", "a b", "--source", "nowhere")
    assert ran.code == 1
    first, second = ran.err.splitlines()
    assert first.startswith("relay: --hostname 'a b'")
    assert second.startswith("relay: --source 'nowhere'")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("hostname", "identity"), [("relay.example.net", "example.net"), ("relay.test", "relay.test")]
)
def test_the_usual_identity_is_never_a_top_level_domain(run, tmp_path, hostname, identity):
    run("init", tmp_path / "new", "--yes", "--hostname", hostname)
    assert set(load_config(tmp_path / "new" / "relay.yaml").identities) == {identity}


def test_a_configuration_that_is_there_is_not_replaced(run, tmp_path):
    run("init", tmp_path / "new", "--yes", *OPTIONS)
    before = (tmp_path / "new" / "relay.yaml").read_bytes()
    ran = run("init", tmp_path / "new", "--yes", *OPTIONS)
    assert ran.code == 1
    assert "--force" in ran.err
    assert (tmp_path / "new" / "relay.yaml").read_bytes() == before


def test_a_directory_that_cannot_be_made_is_told(run, tmp_path):
    (tmp_path / "file").write_text("")
    ran = run("init", tmp_path / "file" / "new", "--yes", *OPTIONS)
    assert ran.code == 1
    assert ran.err.startswith("relay: cannot write ")


@pytest.fixture
def terminal(monkeypatch):
    """Somebody at a terminal who gives these answers."""

    def answer(*lines):
        monkeypatch.setattr(init_command, "at_terminal", lambda: True)
        monkeypatch.setattr(prompts.sys, "stdin", io.StringIO("\n".join(lines) + "\n"))

    return answer


def test_on_a_terminal_it_asks_for_what_was_not_given(run, tmp_path, terminal):
    terminal("mail.example.test", "one.test, two.test", "", "127.0.0.2 127.0.0.3")
    ran = run("init", tmp_path / "new")
    assert ran.code == 0
    assert "Full name of this relay" in ran.err
    config = load_config(tmp_path / "new" / "relay.yaml")
    assert config.hostname == "mail.example.test"
    assert set(config.identities) == {"one.test", "two.test"}
    assert len(config.pools["default"].sources) == 2


def test_yes_asks_nothing_and_takes_the_usual(run, tmp_path, monkeypatch):
    monkeypatch.setattr(init_command, "ask", lambda *_: pytest.fail("it asked"))
    assert run("init", tmp_path / "new", "--yes").code == 0
    config = load_config(tmp_path / "new" / "relay.yaml")
    assert [str(listener.address) for listener in config.listeners.values()] == ["127.0.0.1:2587"]


def test_a_first_start_makes_what_is_missing_and_prints_new_passwords(config_path, capsys):
    text = config_path.read_text()
    config_path.write_text(
        text.replace("app: {}", 'app: {password_hashes: ["${file:secrets/app}"]}')
    )
    init_command.complete(config_path)
    out = capsys.readouterr().out
    assert "made " in out
    password = out.split("  app  ")[1].split()[0]
    assert verify(password, load_config(config_path).credentials["app"].password_hashes[0])
    init_command.complete(config_path)
    assert capsys.readouterr().out == ""
