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


@pytest.fixture
def nodes(
    tmp_path: Path, receiver: Receiver, postgres_url: str
) -> Iterator[tuple[Program, Program]]:
    """Two nodes of a fleet, `a` and `b`, with a worker each; set up and not started."""

    def of(name: str):
        def change(document) -> None:
            document["store"] = {"url": postgres_url}
            document["fleet"] = {"node": name}
            document["workers"] = 1

        return change

    first = Program(tmp_path / "a", receiver.port)
    first.configure(of("a"))
    both = (first, first.twin(tmp_path / "b", of("b")))
    yield both
    for node in both:
        node.stop()
