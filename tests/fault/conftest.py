"""Fixtures of the fault tests: the real program and a receiver, as for end-to-end tests."""

from pathlib import Path

import pytest

from tests.e2e.conftest import program, receiver
from tests.e2e.program import Program

__all__ = ["program", "receiver"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.fault)


@pytest.fixture
def quick(program: Program) -> Program:
    """A program that tries again after a second, and waits for nobody for long."""

    def change(document) -> None:
        document["retry"] = {"schedule": ["1s"], "jitter": 0}
        document["delivery"] = {
            "connect_timeout": "2s",
            "command_timeout": "2s",
            "data_timeout": "2s",
            "final_timeout": "2s",
        }

    program.configure(change)
    return program
