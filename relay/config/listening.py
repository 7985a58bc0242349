"""Where a relay listens: for clients, and for what comes back.

The listener for what comes back (`relay.config.returns`) is one more beside those of `listeners`,
with a name that no other may have, and with bounds of its own: whoever floods it takes nothing from
clients.
"""

from relay.config.model import Bounds, Config, Listener
from relay.config.returns import LISTENER, Returns

_SESSION = 600.0  # seconds for a session in all
_REPORT = 300.0  # seconds for one report in all
_SILENCE = 60.0  # seconds between two chunks of one
_REPORTS = 100  # of one session
_IN_MEMORY = 32  # of the largest reports


def every_listener(config: Config) -> dict[str, Listener]:
    """Those of clients, and the one for what comes back where there is one."""
    returns = config.returns
    if returns is None:
        return dict(config.listeners)
    own = Listener(
        address=returns.address,
        networks=returns.networks,
        proxy_protocol=returns.proxy_protocol,
    )
    return {**config.listeners, LISTENER: own}


def returns_bounds(bounds: Bounds, returns: Returns) -> Bounds:
    """What may be asked of the listener for what comes back. A report has one recipient: it is
    about what was sent under one return-path."""
    return bounds.model_copy(
        update={
            "message_size": returns.message_size,
            "header_size": min(bounds.header_size, returns.message_size),
            "recipients": 1,
            "connections": returns.connections,
            "connections_per_client": returns.connections_per_client,
            "messages_per_session": _REPORTS,
            "login_timeout": _SESSION,
            "data_timeout": min(bounds.data_timeout, _SILENCE),
            "message_timeout": min(bounds.message_timeout, _REPORT),
            "bytes_in_flight": _IN_MEMORY * returns.message_size,
        }
    )
