"""`relay store migrate`: the tables brought to the newest version, with no older relay at work."""

from relay.store.interface import StoreUnavailable
from relay.store.postgres import schema
from relay.store.postgres.errors import is_of_the_store, translate
from relay.store.postgres.place import Place

_PATIENCE = 3600  # seconds; an index over many rows takes its time


async def migrate(place: Place, *, force: bool) -> tuple[int, int]:
    """From which version to which; the same where there was nothing to do. Raises StoreError: also
    where relays are alive that know the older tables only, unless by `force`."""
    session = await place.connect()
    try:
        version = await schema.version_of(session)
        is_older = version is not None and 0 < version < len(schema.MIGRATIONS)
        alive = await schema.living_nodes(session) if is_older else []
        if alive and not force:
            raise StoreUnavailable(
                f"Relays of an older version use the database: {', '.join(alive)}. Stop them"
                " first, or say --force where the notes of the release allow it."
            )
        await session.execute(f"SET statement_timeout = '{_PATIENCE}s'")
        return await schema.migrate(session, timeout=_PATIENCE)
    except Exception as error:
        if not (is_of_the_store(error) or isinstance(error, TimeoutError)):
            raise
        raise translate(error, place) from error
    finally:
        session.terminate()
