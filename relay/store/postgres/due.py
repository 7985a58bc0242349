"""What is due, by turns: the questions of `relay.store.turns`, answered by a reader."""

from collections.abc import Sequence

from relay.store.postgres.session import Row, Session
from relay.store.turns import LongestDue, NextLines, OfLine, Question, SetsWithDueMail
from relay.store.turns import find_due as ask_for_due
from relay.store.values import Due, Want

_FREE = "epoch IS NULL AND state = 'queued'"
_OF_SET = f"FROM delivery WHERE {_FREE} AND configuration_set"
_OF_LINE = f"FROM delivery WHERE {_FREE} AND configuration_set = $1"

_SETS = f"""
    WITH RECURSIVE found (name) AS (
        (SELECT configuration_set {_OF_SET} >= '' ORDER BY configuration_set LIMIT 1)
        UNION ALL
        SELECT (SELECT configuration_set {_OF_SET} > found.name ORDER BY configuration_set LIMIT 1)
            FROM found WHERE found.name IS NOT NULL
    )
    SELECT name FROM found WHERE name IS NOT NULL
        AND EXISTS (SELECT {_OF_SET} = found.name AND due_at <= $1)
"""  # noqa: S608 - constants
_LONGEST_DUE = f"SELECT id, domain {_OF_SET} = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3"
_IN_LINE = f"SELECT id {_OF_LINE} AND domain = $2 AND due_at <= $3 ORDER BY due_at LIMIT $4"
_NEXT = f"(SELECT domain {_OF_LINE} AND domain > %s AND domain <= $4 ORDER BY domain LIMIT 1)"
# Of the lines that were stepped on, those with due mail, and the end of the way.
_LINES = f"""
    WITH RECURSIVE line (domain, step) AS (
        SELECT {_NEXT % "$3"}, 1
        UNION ALL
        SELECT {_NEXT % "line.domain"}, step + 1 FROM line
            WHERE line.domain IS NOT NULL AND step < $5
    ), walked AS (
        SELECT domain, step, coalesce((SELECT due_at {_OF_LINE} AND domain = line.domain
            ORDER BY due_at LIMIT 1) <= $2, false) AS is_due FROM line
    )
    SELECT domain, step, is_due FROM walked WHERE domain IS NULL OR step = $5 OR is_due
        ORDER BY step
"""  # noqa: S608 - constants


async def find_due(db: Session, want: Want) -> Due:
    """What `want` can use of what is due."""
    asking = ask_for_due(want)
    question = next(asking)
    while True:
        try:
            question = asking.send(await _answer(db, question))
        except StopIteration as over:
            due: Due = over.value
            return due


async def _answer(db: Session, question: Question) -> Sequence[Row]:
    match question:
        case SetsWithDueMail(now):
            return await db.fetch(_SETS, now)
        case LongestDue(name, now, limit):
            return await db.fetch(_LONGEST_DUE, name, now, limit)
        case NextLines(name, now, after, last, steps):
            return await db.fetch(_LINES, name, now, after, last, steps)
        case OfLine(name, domain, now, limit):
            return await db.fetch(_IN_LINE, name, domain, now, limit)
