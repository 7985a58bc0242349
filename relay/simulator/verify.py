"""Checks DKIM signatures with dkimpy, an implementation that is not ours.

Public keys come from the relay's configuration instead of DNS: what is proved is that the
signature fits the octets that arrived and the key that the operator would publish.
"""

from collections.abc import Mapping

import dkim


def authentication_results(content: bytes, records: Mapping[str, str], authority: str) -> str:
    """An Authentication-Results value (RFC 8601), such as `relay.test; dkim=pass header.d=a.test`.

    `records` maps `selector._domainkey.domain` to its TXT record.
    """

    def txt(name: bytes, timeout: int = 5) -> bytes | None:
        record = records.get(name.decode("ascii", "replace").rstrip(".").lower())
        return record.encode() if record is not None else None

    verifier = dkim.DKIM(content)
    count = sum(1 for name, _ in verifier.headers if name.lower() == b"dkim-signature")
    results = [_result(content, index, txt) for index in range(min(count, 8))]
    return f"{authority}; " + ("; ".join(results) or "dkim=none")


def _result(content: bytes, index: int, txt: object) -> str:
    verifier = dkim.DKIM(content)
    try:
        passed = verifier.verify(idx=index, dnsfunc=txt)
    except (dkim.DKIMException, ValueError, IndexError) as failure:
        return f"dkim=permerror ({type(failure).__name__})"
    domain = verifier.domain.decode("ascii", "replace")
    selector = verifier.selector.decode("ascii", "replace")
    return f"dkim={'pass' if passed else 'fail'} header.d={domain} header.s={selector}"
