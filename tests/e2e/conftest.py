"""Fixtures of the end-to-end tests: a receiving server, and the real program delivering to it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.e2e.receiver import Receiver


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def program(tmp_path: Path, receiver: Receiver) -> Iterator[Program]:
    """Set up and not started, so that a test can change the configuration first."""
    program = Program(tmp_path / "relay", receiver.port)
    yield program
    program.stop()
