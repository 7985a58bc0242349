"""What an operating system's error says, for people."""


def reason(error: Exception) -> str:
    """What went wrong, without `[Errno …]`: our own texts name the address or the file."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
