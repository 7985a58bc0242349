"""What thresholds of reputation say against each other: those of all streams, and those of a
configuration set over them."""

from collections.abc import Iterator

from relay.config.document import Document
from relay.config.problems import KeyPath, Problem
from relay.config.reputation import Reputation, parse_share

_DEFAULTS = Reputation()


def check_reputation(document: Document) -> Iterator[Problem]:
    """Every problem of `reputation` and of `configuration_sets.NAME.reputation`."""
    account: KeyPath = ("reputation",)
    yield from _check(document, (account,))
    for name in document.names("configuration_sets"):
        own: KeyPath = ("configuration_sets", name, "reputation")
        if any(document.names(*own)):
            yield from _check(document, (own, account))


def _check(document: Document, sections: tuple[KeyPath, ...]) -> Iterator[Problem]:
    """What holds for the first of the sections; the others say what it does not."""
    for metric in ("bounces", "complaints"):
        defaults = getattr(_DEFAULTS, metric)
        warn = _said(document, sections, (metric, "warn")) or f"{defaults.warn * 100:g}%"
        pause = _said(document, sections, (metric, "pause")) or f"{defaults.pause * 100:g}%"
        minimum = _said(document, sections, (metric, "minimum")) or str(defaults.minimum)
        volume = _said(document, sections, ("volume",)) or str(_DEFAULTS.volume)
        section = sections[0]
        if pause != "never" and (_share(pause) or 1.0) < (_share(warn) or 0.0):
            yield document.problem(
                (*section, metric),
                f"pauses at {pause} and warns at {warn} only",
                "a pause that is not below warn",
            )
        if _number(minimum) > _number(volume) > 0:
            yield document.problem(
                section,
                f"volume is {volume}, and {metric} are judged from {minimum} recipients on, which"
                " a stream that sends little would never have",
                f"a volume of {minimum} or more, or a smaller {metric}.minimum",
            )


def _said(document: Document, sections: tuple[KeyPath, ...], key: KeyPath) -> str | None:
    texts = (document.text((*section, *key)) for section in sections)
    return next(filter(None, texts), None)


def _share(text: str) -> float | None:
    """None for what its type refuses."""
    try:
        return parse_share(text)
    except ValueError:
        return None


def _number(text: str) -> int:
    """0 for what its type refuses."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
