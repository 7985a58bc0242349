"""The arithmetic of docs/sizing.md."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.sizing import RATES, Costs, Machines, bounds_of_a_cell, bounds_table, size, table

PAGE = Path(__file__).parents[2] / "docs/sizing.md"


def test_the_page_has_the_tables_that_the_arithmetic_gives() -> None:
    text = PAGE.read_text()
    assert bounds_table(Costs(), Machines()) in text
    assert table(RATES, Costs(), Machines()) in text


@given(st.integers(1, 100_000))
def test_a_cell_never_carries_more_than_its_lowest_bound(rate: int) -> None:
    found = size(rate, Costs(), Machines())
    assert rate / found.cells <= min(bounds_of_a_cell(Costs(), Machines()).values())


@given(st.integers(1, 100_000))
def test_one_relay_of_each_cell_may_be_missing(rate: int) -> None:
    machines = Machines()
    found = size(rate, Costs(), machines)
    left = found.relays - found.cells * machines.spare
    capacity = left * found.workers * machines.busy * 1000 / Costs().worker_cpu
    assert capacity >= rate


def test_what_costs_twice_as_much_of_the_database_halves_its_bound() -> None:
    once = bounds_of_a_cell(Costs(), Machines())
    twice = bounds_of_a_cell(replace(Costs(), database_cpu=2 * Costs().database_cpu), Machines())
    assert twice["the database's CPU"] == pytest.approx(once["the database's CPU"] / 2)
