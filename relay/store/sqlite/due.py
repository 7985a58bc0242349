"""What is due, by turns: the questions of `relay.store.turns`, answered by a reader."""

import sqlite3
from typing import Any

from relay.store.turns import LongestDue, NextLines, OfLine, Question, SetsWithDueMail
from relay.store.turns import find_due as ask_for_due
from relay.store.values import Due, Want

_FREE = "epoch IS NULL AND state = 'queued'"
_OF_SET = f"FROM delivery INDEXED BY delivery_set WHERE {_FREE} AND configuration_set"
_OF_LINE = f"FROM delivery INDEXED BY delivery_line WHERE {_FREE} AND configuration_set = :name"

_SETS = f"""
    WITH RECURSIVE found (name) AS (
        SELECT (SELECT configuration_set {_OF_SET} >= '' ORDER BY configuration_set LIMIT 1)
        UNION ALL
        SELECT (SELECT configuration_set {_OF_SET} > found.name ORDER BY configuration_set LIMIT 1)
            FROM found WHERE found.name IS NOT NULL
    )
    SELECT name FROM found WHERE EXISTS (SELECT 1 {_OF_SET} = found.name AND due_at <= ?)
"""  # noqa: S608 - constants
_LONGEST_DUE = f"SELECT id, domain {_OF_SET} = ? AND due_at <= ? ORDER BY due_at LIMIT ?"
_IN_LINE = (
    f"SELECT id {_OF_LINE} AND domain = :domain AND due_at <= :now ORDER BY due_at LIMIT :most"
)
_NEXT = f"(SELECT domain {_OF_LINE} AND domain > %s AND domain <= :last ORDER BY domain LIMIT 1)"
# Of the lines that were stepped on, those with due mail, and the end of the way.
_LINES = f"""
    WITH RECURSIVE line (domain, step) AS (
        SELECT {_NEXT % ":after"}, 1
        UNION ALL
        SELECT {_NEXT % "line.domain"}, step + 1 FROM line
            WHERE line.domain IS NOT NULL AND step < :steps
    )
    SELECT domain, step, (SELECT due_at {_OF_LINE} AND domain = line.domain
        ORDER BY due_at LIMIT 1) <= :now AS is_due
    FROM line WHERE domain IS NULL OR step = :steps OR is_due
"""  # noqa: S608 - constants


def find_due(db: sqlite3.Connection, want: Want) -> Due:
    """What `want` can use of what is due."""
    asking = ask_for_due(want)
    question = next(asking)
    while True:
        try:
            question = asking.send(_answer(db, question))
        except StopIteration as over:
            due: Due = over.value
            return due


def _answer(db: sqlite3.Connection, question: Question) -> list[tuple[Any, ...]]:
    match question:
        case SetsWithDueMail(now):
            found = db.execute(_SETS, (now,))
        case LongestDue(name, now, limit):
            found = db.execute(_LONGEST_DUE, (name, now, limit))
        case NextLines(name, now, after, last, steps):
            asked = {"name": name, "now": now, "after": after, "last": last, "steps": steps}
            found = db.execute(_LINES, asked)
        case OfLine(name, domain, now, limit):
            asked = {"name": name, "domain": domain, "now": now, "most": limit}
            found = db.execute(_IN_LINE, asked)
    return found.fetchall()
