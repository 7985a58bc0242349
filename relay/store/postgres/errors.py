"""What faults of PostgreSQL and of the way to it mean to those who use the store."""

import asyncio
from typing import Protocol

import asyncpg

from relay.store.interface import StoreError, StoreFull, StoreUnavailable

_NO_ROOM = frozenset({"53100"})  # disk_full
# After these the session is of no use: the server ends, or is not the one that takes writes.
_LOST = frozenset(
    {
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "57P05",  # idle_session_timeout
        "25006",  # read_only_sql_transaction: a standby, or what has become one
        "25P03",  # idle_in_transaction_session_timeout
        "53300",  # too_many_connections
    }
)
# What the driver says of a session that is closed, or that the server has ended while it was idle.
_OF_THE_DRIVER = (asyncpg.InterfaceError, asyncpg.InternalClientError)
# Another transaction was in the way: the same again, a moment later, will do.
_TRANSIENT = frozenset({"40001", "40P01"})
_DAMAGED = "XX001"  # data_corrupted: a page, or a part of a large value
_MALFORMED = "22"  # the class of data exceptions: octets that are no text, text that is no JSON


class Named(Protocol):
    """What can be told of in an error."""

    def __str__(self) -> str: ...


def code_of(error: BaseException) -> str:
    """The SQLSTATE; empty where the server said none."""
    return getattr(error, "sqlstate", None) or ""


def is_lost(error: BaseException) -> bool:
    """Whether the session cannot be used any more, and what it was told last may have happened."""
    if isinstance(error, (*_OF_THE_DRIVER, OSError, TimeoutError, asyncio.TimeoutError)):
        return True
    code = code_of(error)
    return code in _LOST or code.startswith("08")


def is_transient(error: BaseException) -> bool:
    """Whether nothing was wrong but that another transaction came first."""
    return code_of(error) in _TRANSIENT


def is_corrupt(error: BaseException) -> bool:
    """Whether the server cannot read what it has stored."""
    return code_of(error) == _DAMAGED


def is_malformed(error: BaseException) -> bool:
    """Whether a value is not what a function of the server makes something of."""
    return code_of(error).startswith(_MALFORMED)


def is_of_the_store(error: BaseException) -> bool:
    """Whether it is a fault of the medium, rather than one of ours."""
    return isinstance(error, (asyncpg.PostgresError, *_OF_THE_DRIVER, OSError))


def translate(error: BaseException, place: Named) -> StoreError:
    """The StoreError to raise for `error`."""
    if isinstance(error, StoreError):
        return error
    code = code_of(error)
    if code in _NO_ROOM:
        return StoreFull(f"No room in the database {place}: {error}")
    return StoreUnavailable(
        _ADVICE.get(code, _advice(error, code)).format(place=place, error=error)
    )


_ADVICE = {
    "3D000": "There is no database {place}: make it with `createdb`, or correct store.url.",
    "28P01": "The database {place} refuses the login: {error}. Check the user in store.url, and the"
    " password there or in store.password_file.",
    "28000": "The database {place} refuses the login: {error}. Check the user in store.url, and"
    " what pg_hba.conf of the server allows.",
    "42501": "The database {place} does not permit it: {error}. The user of the relay needs GRANT"
    " CREATE ON DATABASE once, and then owns the schema relay.",
}


def _advice(error: BaseException, code: str) -> str:
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "The database {place} does not answer."
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return (
            "The database {place} is a standby, which takes no writes: it is promoted, or store.url"
            " is to name the primary."
        )
    if "rejected SSL upgrade" in str(error):
        return (
            "The database {place} offers no TLS, and sslmode in store.url demands it: have the"
            " server offer it (ssl = on), or demand less."
        )
    if "unsupported startup parameter" in str(error):
        return (
            "The database {place} is behind a pooler, which refuses the settings of a session:"
            " {error}. Name the server itself in store.url; the sessions of a relay are few, and"
            " last."
        )
    if isinstance(error, OSError):
        return "The database {place} cannot be reached: {error}"
    return "The database {place} failed: {error}" + (f" ({code})" if code else "")
