"""Message tags: `X-SES-MESSAGE-TAGS: name=value, other=value`.

Names and values are letters, digits, `_` and `-`, 256 at most. What has another form is no tag and
is left out; the message is sent all the same, as Amazon SES does: a tag is for statistics only.
"""

import re

MAXIMUM_TAGS = 50

_TAG = re.compile(r"\s*([A-Za-z0-9_-]{1,256})\s*=\s*([A-Za-z0-9_-]{1,256})\s*", re.ASCII).fullmatch


def parse_tags(value: str) -> tuple[tuple[str, str], ...]:
    """The tags in a header value, in order; of two with one name the first counts."""
    tags: dict[str, str] = {}
    for part in value.split(",", MAXIMUM_TAGS)[:MAXIMUM_TAGS]:
        tag = _TAG(part)
        if tag is not None:
            tags.setdefault(tag[1], tag[2])
    return tuple(tags.items())
