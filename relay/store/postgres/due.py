"""What is due, by turns: how PostgreSQL answers the questions of `relay.store.turns`.

The indexes of what is free are stepped down by recursion: the server has no other way to go from
one value to the next without looking at all that lies between.
"""

from relay.store import turns
from relay.store.postgres.session import Session
from relay.store.turns import HeadsOfLines, LongestDue, NextLines, Question, SetsDue
from relay.store.values import Due, Want

_FREE = "FROM delivery WHERE epoch IS NULL AND state = 'queued'"
# The last condition names the index that is meant: see the schema.
_OF_SET = f"{_FREE} AND expires_at >= 0 AND configuration_set"
_OF_LINE = f"{_FREE} AND accepted_at >= 0 AND configuration_set = $2 AND domain"
_NEXT = f"(SELECT domain {_OF_LINE} > %s AND domain <= $4 ORDER BY domain LIMIT 1)"

SETS = f"""
    WITH RECURSIVE found (name) AS (
        (SELECT configuration_set {_OF_SET} >= '' ORDER BY configuration_set LIMIT 1)
        UNION ALL
        SELECT (SELECT configuration_set {_OF_SET} > found.name ORDER BY configuration_set LIMIT 1)
            FROM found WHERE found.name IS NOT NULL
    )
    SELECT name FROM found WHERE name IS NOT NULL
        AND (SELECT true {_OF_SET} = found.name AND due_at <= $1 ORDER BY due_at LIMIT 1)
"""  # noqa: S608 - constants
LONGEST_DUE = f"""
    SELECT asked.name, longest.id, longest.domain
    FROM unnest($2::text[], $3::integer[]) WITH ORDINALITY AS asked (name, most, place)
    CROSS JOIN LATERAL (SELECT id, domain, due_at {_OF_SET} = asked.name
        AND due_at <= $1 ORDER BY due_at LIMIT asked.most) AS longest
    ORDER BY asked.place, longest.due_at
"""  # noqa: S608 - constants
# Of the lines that were stepped on, those with due mail, and the end of the way.
LINES = f"""
    WITH RECURSIVE line (domain, step) AS (
        SELECT {_NEXT % "$3"}, 1
        UNION ALL
        SELECT {_NEXT % "line.domain"}, step + 1 FROM line
            WHERE line.domain IS NOT NULL AND step < $5
    ), looked_at AS MATERIALIZED (
        SELECT domain, step, (SELECT true {_OF_LINE} = line.domain AND due_at <= $1
            ORDER BY due_at LIMIT 1) AS is_due FROM line
    )
    SELECT domain, step, is_due FROM looked_at
    WHERE domain IS NULL OR step = $5 OR is_due LIMIT $6
"""  # noqa: S608 - constants
HEADS = f"""
    SELECT asked.domain, head.id
    FROM unnest($3::text[], $4::integer[]) WITH ORDINALITY AS asked (domain, most, place)
    CROSS JOIN LATERAL (SELECT id, due_at {_OF_LINE} = asked.domain
        AND due_at <= $1 ORDER BY due_at LIMIT asked.most) AS head
    ORDER BY asked.place, head.due_at
"""  # noqa: S608 - constants


async def find_due(db: Session, want: Want) -> Due:
    """What `want` can use of what is due: a question for a reader."""
    search = turns.find_due(want)
    try:
        question = next(search)
        while True:
            question = search.send(await _answer(db, question))
    except StopIteration as found:
        due: Due = found.value
        return due


async def _answer(db: Session, question: Question) -> turns.Rows:
    match question:
        case SetsDue(now):
            return await db.fetch(SETS, now)
        case LongestDue(now, windows):
            names, numbers = zip(*windows, strict=True)
            return await db.fetch(LONGEST_DUE, now, names, numbers)
        case NextLines(now, name, after, last, steps, enough):
            return await db.fetch(LINES, now, name, after, last, steps, enough)
        case HeadsOfLines(now, name, lines):
            domains, numbers = zip(*lines, strict=True)
            return await db.fetch(HEADS, now, name, domains, numbers)
