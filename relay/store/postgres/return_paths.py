"""The keys of return-paths that nodes share: one row, replaced by whoever knows what is in it."""

from collections.abc import Sequence

from relay.store.postgres.news import tell
from relay.store.postgres.session import Session, rows_of

_KEYS = "SELECT lines FROM return_path_keys"
_OFFER = (
    "INSERT INTO return_path_keys (lines) VALUES ($1) ON CONFLICT (is_all) DO UPDATE"
    " SET lines = excluded.lines WHERE return_path_keys.lines = $2"
)


async def keys(db: Session) -> str:
    """Their lines; empty where nobody has offered any yet."""
    return await db.fetchval(_KEYS) or ""


async def offer(db: Session, requests: Sequence[tuple[str, str]]) -> list[str]:
    """Requests are (lines, those that they replace); what there is after each."""
    answers = []
    for offered, instead_of in requests:
        if rows_of(await db.execute(_OFFER, offered, instead_of)):
            await tell(db, "return_paths")
        answers.append(await keys(db))
    return answers
