"""What operators ask of reactions to providers: values of questions that a running relay answers.

The answer to what is in force are `relay.feedback.restraints.Restraint`s as they are.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClearReactions:
    """Lift whatever holds `source` (an address) back for `line` (a provider's name, or a site's).
    Other lines of the source stay as they are."""

    source: str
    line: str
