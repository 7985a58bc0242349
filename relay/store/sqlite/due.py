"""What is due, by turns: how SQLite answers the questions of `relay.store.turns`."""

import sqlite3

from relay.store import turns
from relay.store.turns import HeadsOfLines, LongestDue, NextLines, Question, SetsDue
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
    FROM line WHERE domain IS NULL OR step = :steps OR is_due LIMIT :enough
"""  # noqa: S608 - constants


def find_due(db: sqlite3.Connection, want: Want) -> Due:
    """What `want` can use of what is due: a question for a reader."""
    search = turns.find_due(want)
    try:
        question = next(search)
        while True:
            question = search.send(_answer(db, question))
    except StopIteration as found:
        due: Due = found.value
        return due


def _answer(db: sqlite3.Connection, question: Question) -> turns.Rows:
    match question:
        case SetsDue(now):
            return db.execute(_SETS, (now,)).fetchall()
        case LongestDue(now, windows):
            return [
                (name, *row)
                for name, most in windows
                for row in db.execute(_LONGEST_DUE, (name, now, most))
            ]
        case NextLines(now, name, after, last, steps, enough):
            asked = {
                "name": name, "now": now, "after": after, "last": last, "steps": steps,
                "enough": enough,
            }  # fmt: skip
            return db.execute(_LINES, asked).fetchall()
        case HeadsOfLines(now, name, lines):
            return [
                (domain, identifier)
                for domain, most in lines
                for (identifier,) in db.execute(
                    _IN_LINE, {"name": name, "domain": domain, "now": now, "most": most}
                )
            ]
