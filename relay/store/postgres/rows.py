"""Text on its way into rows."""


def text(value: str) -> str:
    """What PostgreSQL's text cannot hold (NUL, lone surrogates) as a question mark that is no
    ASCII: text of peers and clients is for people to read."""
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
