"""What definitions of providers say against each other: who they are, and whom pools mean."""

from collections.abc import Iterator

from relay.config.document import Document
from relay.config.names import parse_domain
from relay.config.problems import Problem, did_you_mean, listed
from relay.config.providers import shipped_providers
from relay.config.shaping import DEFAULT

_WHO = ("domains", "exchanges")


def check_providers(document: Document) -> Iterator[Problem]:
    """Every problem of `providers` and of `pools.NAME.providers`."""
    yield from _matching_nothing(document)
    yield from _claimed_twice(document)
    yield from _unknown_in_pools(document)


def _matching_nothing(document: Document) -> Iterator[Problem]:
    """A definition of one's own without a domain or a host, often a mistyped name of another."""
    known = shipped_providers()
    for name in document.names("providers"):
        path = ("providers", name)
        written = [key for key in _WHO if document.entries(*path, key)]
        if name == DEFAULT:
            for key in written:
                yield document.problem(
                    (*path, key), "default is for what nothing matches", "no domains or exchanges"
                )
        elif not written and name not in known:
            yield document.problem(
                path,
                "matches nothing, and is the name of no shipped definition",
                "domains, exchanges or both",
                did_you_mean(name, known),
                at_key=True,
            )


def _claimed_twice(document: Document) -> Iterator[Problem]:
    """One domain or host that two definitions of the configuration both claim."""
    for key in _WHO:
        seen: dict[str, str] = {}
        for name in document.names("providers"):
            for entry in document.entries("providers", name, key):
                try:
                    claimed = parse_domain(document.text(entry) or "")
                except ValueError:
                    continue
                owner = seen.setdefault(claimed, name)
                if owner != name:
                    yield document.problem(
                        entry, f"{document.show(entry)} is claimed by {owner} too", "one of them"
                    )


def _unknown_in_pools(document: Document) -> Iterator[Problem]:
    known = sorted({*document.names("providers"), *shipped_providers(), DEFAULT})
    for pool in document.names("pools"):
        for name in document.names("pools", pool, "providers"):
            if name not in known:
                yield document.problem(
                    ("pools", pool, "providers", name),
                    f"no provider {name}",
                    listed(known),
                    did_you_mean(name, known),
                    at_key=True,
                )
