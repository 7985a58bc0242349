"""How a command ends, and the exit codes that scripts may rely on.

0: done, and nothing is wrong. 1: a problem was found, or the command failed. 2: the command line
was not understood. 3: no relay is running where one is needed.
"""

OK = 0
FAILED = 1
USAGE = 2
NOT_RUNNING = 3
INTERRUPTED = 130


class CommandFailed(Exception):
    """Ends a command. `str(error)` is what the reader is told, without a prefix."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code
