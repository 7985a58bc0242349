"""A reload can say what it applied and what waits for a restart, without showing values."""

from pathlib import Path

from relay.config.changes import Change, changes, needs_restart
from relay.config.load import load_config
from relay.config.model import Config

GOOD = """\
hostname: relay.test
data_dir: data
tls: {certificate: tls/cert.pem, key: tls/key.pem}
listeners:
  main: {address: "127.0.0.1:2525"}
credentials:
  app: {password: "a secret that nobody may see"}
identities:
  sender.test: {}
configuration_sets:
  default: {pool: default}
pools:
  default: {sources: [{address: 127.0.0.2}]}
"""


def loaded(tmp_path: Path, *edits: tuple[str, str], more: str = "") -> Config:
    text = GOOD
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    file = tmp_path / "relay.yaml"
    file.write_text(text + more)
    return load_config(file, {})


def test_two_loads_of_one_file_are_equal(tmp_path: Path) -> None:
    assert loaded(tmp_path) == loaded(tmp_path)
    assert changes(loaded(tmp_path), loaded(tmp_path)) == ()


def test_every_difference_is_named_and_sorted_by_what_it_takes(tmp_path: Path) -> None:
    new = loaded(
        tmp_path,
        ("hostname: relay.test", "hostname: other.test"),
        ("127.0.0.1:2525", "127.0.0.1:2526"),
        ("a secret that nobody may see", "another secret"),
        ("address: 127.0.0.2", "address: 127.0.0.3"),
        ("default: {pool: default}", "default: {pool: default}\n  new: {pool: default}"),
        more="metrics: {address: '127.0.0.1:0'}\nstore: {lease: 10s}\n",
    )

    assert changes(loaded(tmp_path), new) == (
        Change("hostname", live=False),
        Change("listeners.main.address", live=True),
        Change("credentials.app.password", live=True),
        Change("configuration_sets.new", live=True),
        Change("pools.default.sources", live=True),
        Change("store.lease", live=False),
        Change("metrics.address", live=False),
    )
    assert needs_restart(loaded(tmp_path), new) == ("hostname", "store.lease", "metrics.address")


def test_a_simulator_that_comes_or_goes_needs_a_restart(tmp_path: Path) -> None:
    new = loaded(tmp_path, more="simulator: {}\n")

    assert needs_restart(loaded(tmp_path), new) == ("simulator",)
