"""Regular expressions that a person wrote and a foreign server's text is searched with.

Python's `re` backtracks: `(a+)+b` on forty letters takes a day, and the text is chosen by a
stranger. So the expression is read here first, and only what has a bounded number of ways to match
is allowed: plain text, classes, `.`, `^`, `$`, `\\b`, groups, `|`, `?`, and repetitions whose
possibilities, multiplied, stay below `MOST_WAYS`. Look-around, back references and names are
refused: no reply needs them. Pure.
"""

import re

MOST_CHARACTERS = 300
MOST_WAYS = 40_000
"""With a text of 512 characters: well below a second at the very worst, microseconds as a rule."""
_ENDLESS = 512  # how often `*` and `+` can repeat, for no more of a text is ever searched

_COUNTED = re.compile(r"\{(\d{0,4})(?:(,)(\d{0,4}))?\}")
_REFUSED_ESCAPES = frozenset("123456789gkAZ")


def parse_pattern(text: str) -> str:
    """`text` where it is an allowed expression. Raises `ValueError` with what is wrong."""
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"allowed is an expression of at most {MOST_CHARACTERS} characters")
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"allowed is a regular expression; this one: {error}") from None
    if _Reader(text).read() > MOST_WAYS:
        raise ValueError(
            "allowed is an expression that is searched in short time;"
            " repeat no repetition, and write .{0,40} instead of .*"
        )
    return text


class _Reader:
    """Counts the ways in which an expression can match from one place; `re` has compiled it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def read(self) -> int:
        return self._alternatives()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _alternatives(self) -> int:
        """Branches up to a `)` or the end: their ways add up."""
        ways = self._sequence()
        while self._peek() == "|":
            self._at += 1
            ways += self._sequence()
        return ways

    def _sequence(self) -> int:
        """Items up to a `|`, a `)` or the end: their ways multiply."""
        ways = 1
        while self._peek() not in ("", "|", ")"):
            ways = min(ways * self._item(), MOST_WAYS + 1)
        return ways

    def _item(self) -> int:
        ways = self._atom()
        least, most = self._repetition()
        if most == least and ways == 1:
            return 1
        if ways == 1:
            return most - least + 1
        # Each turn chooses anew: the ways of all turns multiply.
        return min(2 * ways**most, MOST_WAYS + 1) if most <= 20 else MOST_WAYS + 1

    def _atom(self) -> int:
        letter = self._peek()
        self._at += 1
        if letter == "(":
            return self._group()
        if letter == "[":
            self._class()
        elif letter == "\\":
            if self._peek() in _REFUSED_ESCAPES:
                raise ValueError(f"allowed is an expression without \\{self._peek()}")
            self._at += 1
        return 1

    def _group(self) -> int:
        if self._peek() == "?":
            if self._text[self._at + 1 : self._at + 2] != ":":
                raise ValueError("allowed is an expression with groups ( ) and (?: ) only")
            self._at += 2
        ways = self._alternatives()
        self._at += 1  # the bracket that `re` has found to be there
        return ways

    def _class(self) -> None:
        if self._peek() == "^":
            self._at += 1
        if self._peek() == "]":
            self._at += 1
        while self._peek() != "]":
            self._at += 2 if self._peek() == "\\" else 1
        self._at += 1

    def _repetition(self) -> tuple[int, int]:
        """How often the item before repeats: at least, at most. Lazy and possessive alike."""
        letter = self._peek()
        bounds = {"?": (0, 1), "*": (0, _ENDLESS), "+": (1, _ENDLESS)}.get(letter)
        if bounds is not None:
            self._at += 1
        elif counted := _COUNTED.match(self._text, self._at):
            self._at = counted.end()
            least = int(counted[1] or 0)
            most = (int(counted[3]) if counted[3] else _ENDLESS) if counted[2] else least
            bounds = least, most
        else:
            return 1, 1
        if self._peek() in ("?", "+"):
            self._at += 1
        return bounds
