"""What no message waits for, over this engine: permits, operators, secrets."""

from relay.store.lists import ListOperations
from relay.store.sqlite import groups, operators, permits
from relay.store.sqlite.reader import Reader
from relay.store.sqlite.writer import Writer


def operations(writer: Writer, questions: Reader) -> ListOperations:
    """Those of `store.lists.Lists`."""
    return ListOperations(
        lease=writer.doing(permits.lease),
        give_back=writer.doing(permits.give_back),
        permits_used=questions.asking(permits.used),
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
