"""Which TLSA records hold for a mail host (RFC 7672 §2.2): asks DNS, decides nothing else.

Only an authenticated address leads to the question at all: name servers of unsigned zones are known
to fail at TLSA, and their mail must not wait for it (RFC 7672 §2.2.2). Where it was authenticated a
failure is a failure: whoever can make a look-up fail must not be able to turn DANE off.
"""

from relay.routing.answers import AddressAnswer, TlsaAnswer, TransportResolver
from relay.routing.tlsa import NO_TLSA, HostTlsa


async def find_tlsa(
    resolver: TransportResolver, host: str, port: int, located: AddressAnswer
) -> HostTlsa:
    """The records for `host` on `port`, whose addresses are `located`."""
    if not located.secure:
        return NO_TLSA
    for base in dict.fromkeys((located.canonical or host, host)):
        found = read_answer(base, await resolver.tlsa(f"_{port}._tcp.{base}"))
        if found.status != "none":
            return found
    return NO_TLSA


def read_answer(base: str, answer: TlsaAnswer) -> HostTlsa:
    """What an answer means for the host whose records stand below `base`."""
    if answer.status == "failure":
        return HostTlsa("failed", base=base, detail=answer.detail)
    if answer.status != "found" or not answer.secure:
        return NO_TLSA
    return HostTlsa("found", answer.records, base)
