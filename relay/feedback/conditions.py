"""When a rule agrees with a reply: its code, its enhanced code, its words, who said it, and when.

Pure. Conditions that are empty hold for every reply. Expressions are those of
`relay.config.patterns`, which are searched in bounded time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_LETTER = re.compile(r"\\?[A-Z]")


class Written(Protocol):
    """A rule as it is written, of bounces or of reactions."""

    @property
    def code(self) -> Sequence[str]: ...
    @property
    def enhanced(self) -> Sequence[str]: ...
    @property
    def text(self) -> Sequence[str]: ...
    @property
    def unless(self) -> Sequence[str]: ...
    @property
    def provider(self) -> Sequence[str]: ...
    @property
    def phase(self) -> Sequence[str]: ...


@dataclass(frozen=True, slots=True)
class Conditions:
    """`codes` are beginnings of reply codes; `enhanced` codes, or beginnings that end with a dot or
    a digit before `*`."""

    codes: tuple[str, ...] = ()
    enhanced: tuple[str, ...] = ()
    enhanced_beginnings: tuple[str, ...] = ()
    text: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    providers: frozenset[str] = frozenset()
    phases: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        *,
        code: Sequence[str] = (),
        enhanced: Sequence[str] = (),
        text: Sequence[str] = (),
        unless: Sequence[str] = (),
        provider: Sequence[str] = (),
        phase: Sequence[str] = (),
    ) -> "Conditions":
        """From what is written: `45x`, `4.7.*`, expressions, names."""
        return cls(
            codes=tuple(one.rstrip("x") for one in code),
            enhanced=tuple(one for one in enhanced if not one.endswith("*")),
            enhanced_beginnings=tuple(one[:-1] for one in enhanced if one.endswith("*")),
            text=alternatives(text),
            unless=alternatives(unless),
            providers=frozenset(provider),
            phases=frozenset(phase),
        )

    @classmethod
    def written_in(cls, rule: Written) -> "Conditions":
        """Those of a rule of the configuration, or a shipped one."""
        return cls.of(
            code=rule.code,
            enhanced=rule.enhanced,
            text=rule.text,
            unless=rule.unless,
            provider=rule.provider,
            phase=rule.phase,
        )

    def agree(self, code: str, enhanced: str, text: str, phase: str, provider: str) -> bool:
        """Whether all of them hold; `text` in lower case. What costs least is asked first."""
        return (
            (not self.codes or code.startswith(self.codes))
            and (
                not (self.enhanced or self.enhanced_beginnings)
                or enhanced in self.enhanced
                or enhanced.startswith(self.enhanced_beginnings or ("-",))
            )
            and (not self.phases or phase in self.phases)
            and (not self.providers or provider in self.providers)
            and (self.text is None or self.text.search(text) is not None)
            and (self.unless is None or self.unless.search(text) is None)
        )


def alternatives(patterns: Sequence[str]) -> re.Pattern[str] | None:
    """One expression that finds in a text in lower case what any of `patterns` does, whatever
    their case: `re` searches several times as fast as with IGNORECASE."""
    if not patterns:
        return None
    return re.compile("|".join(f"(?:{_in_lower_case(pattern)})" for pattern in patterns))


def _in_lower_case(pattern: str) -> str:
    """The expression without capital letters, but for those that an escape is made of."""
    return _LETTER.sub(lambda match: match[0] if match[0][0] == "\\" else match[0].lower(), pattern)
