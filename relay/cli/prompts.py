"""Questions to a person, asked only where one sits at a terminal."""

import sys


def at_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str) -> bool:
    """Yes or no; no where nobody can be asked. The question goes to standard error."""
    if not at_terminal():
        return False
    return ask(f"{question} [y/N]").lower() in {"y", "yes"}


def ask(question: str, default: str = "") -> str:
    """One line of an answer, or the default."""
    sys.stderr.write(f"{question}{f' [{default}]' if default else ''} ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() or default
