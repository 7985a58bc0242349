"""One event in a line, for people. Pure."""

from relay.store.attempted import Way
from relay.store.log_values import (
    BounceFacts,
    ComplaintFacts,
    DelayFacts,
    DeliveryFacts,
    EventRecipient,
    LoggedEvent,
    PauseFacts,
    RejectFacts,
    SendFacts,
)

_SUPPRESSED = "OnAccountSuppressionList"


def summary(event: LoggedEvent) -> str:
    """What happened, without whom it happened to."""
    match event.facts:
        case SendFacts():
            text = "accepted"
        case RejectFacts(reason=reason):
            text = f"not sent: {reason}"
        case DeliveryFacts(smtp_response=reply, way=way, processing_ms=ms):
            text = f"taken by {_host(way)} after {ms / 1000:g} s: {reply}"
        case DelayFacts(delay_type=kind, recipients=recipients):
            text = f"tried again ({kind}): {_diagnostics(recipients)}"
        case BounceFacts() as bounce:
            text = _bounce(bounce)
        case ComplaintFacts(subtype=subtype) if subtype == _SUPPRESSED:
            text = "not sent: on the suppression list for a complaint"
        case ComplaintFacts(feedback_type=kind, user_agent=agent):
            text = f"complaint ({kind or 'of no said kind'}){f' by {agent}' if agent else ''}"
        case PauseFacts(kind=kind, name=name, reason=reason):
            text = f"{kind} {name}: {reason}"
    return text


def _bounce(bounce: BounceFacts) -> str:
    if bounce.subtype == _SUPPRESSED:
        return "not sent: on the suppression list"
    when = "came back later, " if bounce.is_returned else ""
    kind = f"{bounce.type}/{bounce.subtype}"
    category = f", {bounce.category}" if bounce.category else ""
    return f"{when}{kind}{category}: {_diagnostics(bounce.recipients)}"


def _diagnostics(recipients: tuple[EventRecipient, ...]) -> str:
    said = list(dict.fromkeys(r.diagnostic or r.status or "nothing was said" for r in recipients))
    more = f" (and {len(said) - 1} more)" if len(said) > 1 else ""
    return f"{said[0]}{more}" if said else "nothing was said"


def _host(way: Way) -> str:
    name = way.remote or way.remote_address or "a server"
    return f"{name} from {way.source}" if way.source else name
