"""What the files in `deploy/` and the Dockerfile promise."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_service_does_not_run_as_root_and_keeps_its_files_to_itself() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]  # keys keep their case
    unit.read(ROOT / "deploy/relay.service")
    service = unit["Service"]
    assert service["User"] not in ("", "root")
    assert service["NoNewPrivileges"] == "yes"
    assert service["UMask"] == "0077"
    assert service["StateDirectoryMode"] == "0700"


def test_the_container_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")
