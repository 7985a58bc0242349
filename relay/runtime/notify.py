"""Telling systemd what state the service is in (sd_notify(3)); silent where nobody listens.

Never waits and raises nothing: a service manager that does not listen must not stop mail.
"""

import os
import socket


def notify(*lines: str) -> bool:
    """Send state lines such as `READY=1` to `$NOTIFY_SOCKET`; whether they were sent."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    try:
        with socket.socket(socket.AF_UNIX, kind) as channel:
            channel.sendto("\n".join(lines).encode(), address)
    except OSError:  # nobody is there, or its queue is full
        return False
    return True


def watchdog_interval() -> float | None:
    """Half of the time within which systemd wants to hear `WATCHDOG=1`, in seconds; None: never."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    owner = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or owner != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
