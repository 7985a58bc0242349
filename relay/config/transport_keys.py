"""What the keys of `transport` need of others: name servers to believe, somebody who answers.

As all of `config.crosscheck`, these read the plain document and pass over what a type refuses.
"""

from collections.abc import Iterator

from relay.config.document import Document
from relay.config.identities import find_identity
from relay.config.names import Endpoint, parse_identity, parse_nameserver
from relay.config.problems import Problem

_REPORTS = ("transport", "tls_reports")


def transport_problems(document: Document) -> Iterator[Problem]:
    """Every problem between the keys of `transport` and others."""
    yield from _dane(document)
    if document.at((*_REPORTS, "send")) is True:
        yield from _tls_reports(document)


def _dane(document: Document) -> Iterator[Problem]:
    """DANE rests on the word of the name servers: it must come over a path that nobody is on."""
    if document.at(("transport", "dane")) is not True:
        return
    trusted = {
        _endpoint(document.text(entry))
        for entry in document.entries("transport", "trusted_nameservers")
    }
    for entry in document.entries("delivery", "nameservers"):
        server = _endpoint(document.text(entry))
        if server is not None and not (server in trusted or is_loopback(server)):
            yield document.problem(
                entry,
                f"{document.show(entry)} with transport.dane, which rests on its word",
                "a name server on loopback that validates, or one of transport.trusted_nameservers",
            )


def is_loopback(server: Endpoint) -> bool:
    """Whether nobody can be between us and the name server."""
    return server.address is not None and server.address.is_loopback


def _endpoint(text: str | None) -> Endpoint | None:
    try:
        return parse_nameserver(text or "")
    except ValueError:
        return None


def _tls_reports(document: Document) -> Iterator[Problem]:
    """Reports need somebody who answers for them, a sender, and a way to go."""
    contact, send = (*_REPORTS, "contact"), (*_REPORTS, "send")
    if not document.text(contact):
        yield document.problem(
            send, "true without a contact", "a contact: whom a receiver of reports may ask"
        )
    own_set = document.text((*_REPORTS, "configuration_set"))
    if not (own_set or document.text(("default_configuration_set",))):
        yield document.problem(
            send,
            "true without a configuration set",
            "a configuration_set beside it, or default_configuration_set",
        )
    path = (*_REPORTS, "sender") if document.text((*_REPORTS, "sender")) else contact
    sender = _identity(document.text(path) or "")
    known = {name: None for text in document.names("identities") if (name := _identity(text))}
    if sender and known and find_identity(known, sender) is None:
        yield document.problem(
            path,
            f"{document.show(path)} as the sender of reports, which no identity covers",
            "an address of one of the identities",
        )


def _identity(text: str) -> str:
    try:
        return parse_identity(text)
    except ValueError:
        return ""
