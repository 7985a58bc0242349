"""What the parts of a warm-up say against each other, and who refers to one.

Checks of the plain document, as those of `relay.config.crosscheck`, which calls them.
"""

from collections.abc import Iterator

from relay.config.document import Document
from relay.config.names import parse_address
from relay.config.problems import KeyPath, Problem, did_you_mean, listed
from relay.config.providers import shipped_providers
from relay.config.units import parse_quota

STANDARD = "standard"
"""The name of the schedule that is built in."""


def check_warmups(document: Document) -> Iterator[Problem]:
    """Every problem of `warmups:` and of the sources that refer to them."""
    for name in document.names("warmups"):
        path: KeyPath = ("warmups", name)
        if name == STANDARD:
            yield document.problem(path, "is built in", "another name", at_key=True)
        yield from _curve(document, path)
        for provider in document.names(*path, "providers"):
            yield from _provider(document, (*path, "providers", provider))
            yield from _curve(document, (*path, "providers", provider))
    yield from _references(document)


def _provider(document: Document, path: KeyPath) -> Iterator[Problem]:
    """`default` is no provider: it stands for all that are none."""
    name = str(path[-1])
    known = {*shipped_providers(), *document.names("providers")} - {"default"}
    if name not in known:
        hint = did_you_mean(name, known)
        yield document.problem(path, "is no provider", listed(known), hint, at_key=True)


def _curve(document: Document, path: KeyPath) -> Iterator[Problem]:
    days, length, target = ((*path, key) for key in ("days", "length", "target"))
    written = {key for key in document.names(*path) if document.at((*path, key)) is not None}
    if "days" in written:
        for key in ("length", "target", "first"):
            if key in written:
                yield document.problem((*path, key), "beside days", "days, or length and target")
        if document.at(days) == []:
            yield document.problem(days, "nothing in it", "at least one entry")
        yield from _never_less(document, document.entries(*days))
        return
    if not written & {"length", "target"}:
        yield document.problem(path, "says no allowance", "days, or length and target", at_key=True)
        return
    for missing in (length, target):
        if missing[-1] not in written:
            yield document.problem(missing, "missing", hint="it is required", at_key=True)
    yield from _never_less(document, [(*path, "first"), target])


def _never_less(document: Document, paths: list[KeyPath]) -> Iterator[Problem]:
    """An allowance that falls is a slip of the hand; nothing is won by it."""
    before = 0
    for path in paths:
        try:
            allowance = parse_quota(document.text(path))
        except ValueError:
            continue
        if allowance < before:
            yield document.problem(
                path, f"{document.show(path)} is less than before", f"{before:,} or more"
            )
        before = max(before, allowance)


def _references(document: Document) -> Iterator[Problem]:
    """Names of schedules that exist, and one schedule for an address of several pools."""
    known = {STANDARD, *document.names("warmups")}
    seen: dict[object, str | None] = {}
    for pool in document.names("pools"):
        for source in document.entries("pools", pool, "sources"):
            path: KeyPath = (*source, "warmup")
            wanted = document.text(path)
            if wanted is not None and wanted not in known:
                yield document.problem(
                    path,
                    f"no warm-up {document.show(path)}",
                    listed(known),
                    did_you_mean(wanted, known),
                )
            try:
                address = parse_address(document.text((*source, "address")))
            except ValueError:
                continue
            if seen.setdefault(address, wanted) != wanted:
                yield document.problem(
                    path, f"another warm-up than {address} has in another pool", "the same in all"
                )
