"""What no message waits for, over this engine: permits, operators, secrets."""

from relay.store.lists import ListOperations
from relay.store.postgres import groups, operators, permits
from relay.store.postgres.permits import Clock, PermitBook
from relay.store.postgres.reader import Reader
from relay.store.postgres.writer import Writer


def operations(writer: Writer, questions: Reader, clock: Clock) -> ListOperations:
    """Those of `store.lists.Lists`; `clock` is whose time counts for permits."""
    book = PermitBook(clock)
    return ListOperations(
        # One that came about too late stays counted: fewer may go, never more.
        lease=lambda request: writer.submit_in_time(book.lease, request),
        give_back=writer.doing(permits.give_back),
        permits_used=questions.asking(book.used),
        page=questions.asking(operators.page),
        entries=questions.asking(operators.entries),
        newest=questions.asking(operators.newest),
        depths=questions.asking(operators.depths),
        groups=questions.asking(groups.groups),
        set_state=writer.doing(operators.set_state),
        retry_now=writer.doing(operators.retry_now),
        move=writer.doing(operators.move),
        find_message=questions.asking(operators.find_message),
        add_secret=writer.doing(operators.add_secret),
        secrets=questions.asking(operators.secrets),
        revoke_secrets=writer.doing(operators.revoke_secrets),
    )
