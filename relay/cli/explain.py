"""`relay explain`: what would become of a message, and why."""

from typing import Annotated

from cyclopts import Parameter

from relay.admin.client import Client
from relay.admin.control import ExplainRequest, Explanation, MessageRequest
from relay.admin.endpoints import EXPLAIN, EXPLAIN_MESSAGE
from relay.cli.explain_message import print_message
from relay.cli.explain_way import print_way
from relay.cli.failures import FAILED, OK, USAGE, CommandFailed
from relay.cli.options import ConfigOption, JsonOption
from relay.cli.output import moment, print_facts, print_json, print_table, say, span, utc_ms
from relay.cli.place import find_config
from relay.mail.address import AddressError, parse_mailbox


def explain(
    sender: Annotated[
        str, Parameter(name="FROM", help="The address in From, or the id of a message.")
    ],
    recipient: Annotated[str, Parameter(name="TO", help="The recipient's address.")] = "",
    /,
    *,
    configuration_set: Annotated[
        str, Parameter(help="As X-SES-CONFIGURATION-SET would name it.")
    ] = "",
    credential: Annotated[str, Parameter(help="As whom the client would log in.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> int:
    """Explain why a queued message (its id alone) has not gone out, or what the running relay would
    do with one (FROM and TO): identity, configuration set, keys, suppression, suspensions, pool,
    sources (each excluded one with its reason), route, TLS, limits and retries.

    Nothing is sent. Exits 1 when the message would be refused.
    """
    if not recipient and "@" in sender:
        raise CommandFailed(f"say to whom {sender} would send: `relay explain FROM TO`", USAGE)
    client = Client(find_config(config).data_dir())
    if not recipient:
        return _explain_message(client, sender, as_json)
    request = ExplainRequest(
        address(sender, "FROM"), address(recipient, "TO"), configuration_set, credential
    )
    found = client.call(EXPLAIN, request)
    if as_json:
        print_json(found)
    else:
        _show(found, utc_ms())
    return FAILED if found.refusal else OK


def _explain_message(client: Client, message_id: str, as_json: bool) -> int:
    found = client.call(EXPLAIN_MESSAGE, MessageRequest(message_id))
    if as_json:
        print_json(found)
    else:
        print_message(found, utc_ms())
    return OK


def address(text: str, name: str) -> str:
    """A mailbox from the command line, normalised."""
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise CommandFailed(f"{name} {text!r} is not an address: {error}") from None


NO_ADDRESS = "this node has no address of the pool that it may use"


def _show(found: Explanation, now: int) -> None:
    suppression = found.suppression
    print_facts(
        [
            ("from", found.sender),
            ("to", found.recipient),
            ("refused", found.refusal),
            ("identity", found.identity),
            ("configuration set", _set(found)),
            (
                "signed by",
                [f"{k.selector} at {k.domain} {k.algorithm}".strip() for k in found.keys]
                or ("" if found.refusal else "nothing: the identity has no DKIM key"),
            ),
            ("return-path", _return_path(found)),
            (
                "suppressed",
                suppression
                and f"{suppression.reason}, since {moment(suppression.created_at)}, "
                f"by {suppression.by or 'the relay'}: it would be accepted and not sent",
            ),
            ("pool", found.pool),
            ("carried by", found.carried_by and f"{', '.join(found.carried_by)}: {NO_ADDRESS}"),
            ("route", found.route),
            ("destination", found.destination),
            ("site", found.site),
            ("provider", found.provider or ("none: as `default` says" if found.site else "")),
            ("hosts", found.hosts_problem),
            ("tls", found.tls),
            ("tried again", _retries(found)),
        ]
    )
    if found.sources:
        say()
        print_table(
            ("source", "EHLO name", "weight", "state", "at most"),
            [
                (s.address, s.ehlo, s.weight, s.excluded or "eligible", s.shape)
                for s in found.sources
            ],
        )
    print_way(found, now)


def _set(found: Explanation) -> str:
    if not found.configuration_set_from:
        return found.configuration_set
    return f"{found.configuration_set} ({found.configuration_set_from})"


def _return_path(found: Explanation) -> str:
    if found.return_path:
        return f"{found.return_path}, with a token of its own for each message"
    return "" if found.refusal else "the envelope sender that the client gives"


def _retries(found: Explanation) -> str:
    """When what fails for now is tried again."""
    if not found.retry:
        return ""
    waits = ", ".join(span(seconds) for seconds in found.retry)
    return f"after {waits}, the last again and again, for {span(found.max_age)} in all"
