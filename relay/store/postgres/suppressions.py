"""The suppression list over this engine."""

from relay.store.postgres import suppression, suppression_changes
from relay.store.postgres.reader import Reader
from relay.store.postgres.writer import Writer
from relay.store.suppressions import SuppressionOperations, Suppressions


def suppressions(writer: Writer, questions: Reader) -> Suppressions:
    """Implements `SuppressionStore`."""
    return Suppressions(
        SuppressionOperations(
            put=writer.doing(suppression.put),
            add_observed=writer.doing(suppression.observed),
            remove=writer.doing(suppression.remove),
            prune=writer.doing(suppression.prune, unhurried=True),
            begin=writer.doing(suppression_changes.begin),
            end=writer.doing(suppression_changes.end),
            prune_changes=writer.doing(suppression_changes.prune, unhurried=True),
            find=questions.asking(suppression.find),
            reasons=questions.asking(suppression.entries_for),
            page=questions.asking(suppression.page),
            count=questions.asking(suppression.count),
            tally=questions.asking(suppression.tally),
            changes=questions.asking(suppression_changes.last_of),
        )
    )
