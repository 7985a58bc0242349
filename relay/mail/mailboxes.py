"""The addresses in a From, Sender, To or like field (RFC 5322 §3.4), without guessing.

Display names, quoted strings, comments, groups and encoded words are read and dropped. A value
that cannot be understood as a whole yields no address at all, so that nobody is authorised by one
half of a field and shown the other. Never raises; linear in the length of the value.
"""

import re
from collections.abc import Iterator

from relay.mail.address import ORDINARY, PATH_OCTETS, AddressError, parse_mailbox

# One mailbox with at most a display name: nearly every From there is.
_ONE = re.compile(
    r"[ \t]*+"
    r'(?:(?:"[^"\\]*+"[ \t]*+|[^<>@,;:"()\[\]\\]*+)'
    rf"<{ORDINARY}>|{ORDINARY})"
    r"[ \t]*+"
).fullmatch

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]++)"
    r'|(?P<quoted>"(?:[^"\\]|\\.)*+")'
    r"|(?P<literal>\[[^\[\]\\]*+\])"
    r'|(?P<atom>[^ \t\r\n()<>@,;:\\"\[\]]++)'
    r"|(?P<special>[<>@,;:(])",
    re.DOTALL,
).match
_IN_COMMENT = re.compile(r"[^()\\]++|\\.|[()]", re.DOTALL).match


class _Malformed(ValueError):
    pass


def mailboxes(value: str) -> list[str]:
    """The addresses in `value`, each as `parse_mailbox` gives it; `[]` where it is malformed."""
    one = _ONE(value)
    if one is not None:
        local, domain, bare_local, bare_domain = one.groups()
        address: str = f"{local or bare_local}{(domain or bare_domain).lower()}"
        if len(address) <= PATH_OCTETS - 2:
            return [address]
    try:
        return list(_addresses(value))
    except (_Malformed, AddressError):
        return []


def entries(value: str) -> list[str]:
    """The entries of an address list as they are written, with names and comments, a group as one;
    all of `value` as one entry where it is malformed. For people: nobody is authorised by it."""
    if "," not in value:
        return [value.strip(" \t")] if value.strip(" \t") else []
    try:
        ends = list(_separators(value))
    except _Malformed:
        return [value.strip(" \t")]
    starts = [0, *(end + 1 for end in ends)]
    written = (
        value[start:end].strip(" \t")
        for start, end in zip(starts, [*ends, len(value)], strict=True)
    )
    return [entry for entry in written if entry]


def _separators(value: str) -> Iterator[int]:
    """Where the commas between entries stand."""
    at = 0
    in_angle = in_group = False
    while at < len(value):
        part = _TOKEN(value, at)
        if part is None:
            raise _Malformed
        at = _comment_end(value, part.end()) if part[0] == "(" else part.end()
        if part[0] in "<>":
            in_angle = part[0] == "<"
        elif part[0] in ":;" and not in_angle:
            in_group = part[0] == ":"
        elif part[0] == "," and not (in_angle or in_group):
            yield part.start()


def _addresses(value: str) -> Iterator[str]:
    """Walk the tokens of an address list; `entry` is what stands between two separators."""
    entry: list[str] = []
    in_group = in_angle = False
    for part in [*_tokens(value), ","]:
        if in_angle:
            entry.append(part)
            in_angle = part != ">"
        elif part == "<":
            entry.append(part)
            in_angle = True
        elif part == "," or (part == ";" and in_group):
            yield from _entry(entry)
            entry = []
            in_group = in_group and part != ";"
        elif part == ":" and not in_group and "@" not in entry and any(t != " " for t in entry):
            entry = []
            in_group = True
        elif part in {":", ";", ">"}:
            raise _Malformed
        else:
            entry.append(part)
    if in_angle or in_group:
        raise _Malformed


def _entry(tokens: list[str]) -> Iterator[str]:
    """The address of one entry: what stands in angle brackets, or all of it."""
    text = tokens
    name: list[str] = []
    if "<" in tokens:
        start = tokens.index("<")
        name = tokens[:start]
        end = tokens.index(">", start)
        if any(part != " " for part in tokens[end + 1 :]):
            raise _Malformed
        text = tokens[start + 1 : end]
        if "@" in text and next((t for t in text if t != " "), "") == "@":  # an obsolete route
            text = text[text.index(":") + 1 :] if ":" in text else text
    address = "".join(text).strip(" ")
    if address or "<" in tokens:
        mailbox = parse_mailbox(address)
        if "@" in name and _names_another("".join(name), mailbox):
            raise _Malformed
        yield mailbox


def _names_another(name: str, mailbox: str) -> bool:
    """Whether an unquoted address stands where the name should: some readers take that one."""
    for word in name.split(" "):
        try:
            if parse_mailbox(word).lower() != mailbox.lower():
                return True
        except AddressError:
            continue
    return False


def _tokens(value: str) -> Iterator[str]:
    """Quoted strings, literals, atoms, specials, and `" "` for white space and comments."""
    at = 0
    while at < len(value):
        part = _TOKEN(value, at)
        if part is None:
            raise _Malformed
        if part[0] == "(":
            at = _comment_end(value, part.end())
            yield " "
            continue
        at = part.end()
        yield " " if part.lastgroup == "space" else part[0]


def _comment_end(value: str, at: int) -> int:
    """Where the comment whose text begins at `at` ends. Comments nest."""
    depth = 1
    while depth:
        part = _IN_COMMENT(value, at)
        if part is None:
            raise _Malformed
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        at = part.end()
    return at
