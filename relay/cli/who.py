"""Who gives a command, for those who find its effects later."""

import getpass
import os


def who() -> str:
    """The name of the user, or of who called sudo; `""` where the host does not know it."""
    if os.geteuid() == 0 and (caller := os.environ.get("SUDO_USER")):
        return caller
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
