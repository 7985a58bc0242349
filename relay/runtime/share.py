"""What of a configuration's bounds on memory is one worker's.

Memory is each process's own, so bounds on it are divided. What outsiders see (rates, quotas,
connections, logins) is not: the supervisor counts that for all (`relay.runtime.supervisor`). Pure.
"""

from relay.config.model import Config

_LEAST_HELD = 10
_LEAST_OCTETS = 1_000_000


def share_of_worker(config: Config, workers: int) -> Config:
    """`config` as one of `workers` processes holds it."""
    if workers == 1:
        return config
    bounds, delivery = config.bounds, config.delivery
    octets = max(bounds.bytes_in_flight // workers, min(_LEAST_OCTETS, bounds.bytes_in_flight))
    held = max(delivery.working_set // workers, _LEAST_HELD)
    return config.model_copy(
        update={
            "bounds": bounds.model_copy(update={"bytes_in_flight": octets}),
            "delivery": delivery.model_copy(update={"working_set": held}),
        }
    )
