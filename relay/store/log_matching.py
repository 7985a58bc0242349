"""What people look for in the message log, in the words of SQL."""


def is_address(text: str) -> bool:
    """Rather than all addresses of a domain (`@domain`), or nothing."""
    return bool(text) and not text.startswith("@")


def escaped(text: str) -> str:
    """For LIKE with a backslash: what is looked for is no pattern."""
    return text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
