"""Reloading: a new configuration is put in force whole, or the old one stays whole.

Every failure is logged with its reason and counted; keys and certificates are read again even where
the file has not changed.
"""

import asyncio
from typing import TYPE_CHECKING

from relay.admin.control import Reloaded
from relay.config.changes import needs_restart
from relay.config.machine import check_machine
from relay.config.model import Config
from relay.config.problems import ConfigErrors
from relay.runtime.assembly import AssemblyError
from relay.runtime.gauges import wall_ms
from relay.runtime.reason import reason
from relay.store.interface import StoreError

if TYPE_CHECKING:
    from relay.runtime.supervisor import Supervisor


class Reloader:
    """Reloads all processes of one relay together, one reload at a time, and remembers how the
    last one ended."""

    def __init__(self, relay: "Supervisor") -> None:
        self.epoch = 1
        self.loaded_at = wall_ms()
        self.last_error = ""
        self._relay = relay
        self._lock = asyncio.Lock()
        relay.metrics.config_epoch.set(self.epoch)

    async def reload(self) -> Reloaded:
        """Load the file again and apply it. Never raises for what is wrong with it."""
        async with self._lock:
            relay = self._relay
            try:
                loaded = await relay.following.load()
                kept = needs_restart(relay.config, loaded.config)
                config = _with_old_values(loaded.config, relay.config, kept)
                assembly = await relay.assemble(config)
                problems = await relay.put_in_force(assembly)
            except ConfigErrors as errors:
                return self._refused(tuple(str(problem) for problem in errors.problems))
            except AssemblyError as error:
                return self._refused(error.problems)
            except (OSError, StoreError) as error:
                return self._refused((reason(error),))
            except Exception as error:  # the root of a reload: a fault of ours, told as one
                relay.log.exception("reloading failed", config_epoch=self.epoch)
                return self._refused((f"internal error: {type(error).__name__}; see the log",))
            if problems:
                return self._refused(problems)
            machine = await asyncio.to_thread(check_machine, config, loaded.document)
            warnings = [str(problem) for problem in machine]
            warnings += [f"{key}: changed; the new value needs a restart" for key in kept]
            warnings += relay.following.taken()
            return self._accepted(tuple(warnings))

    def _accepted(self, warnings: tuple[str, ...]) -> Reloaded:
        self.epoch += 1
        self.loaded_at = wall_ms()
        self.last_error = ""
        self._relay.metrics.config_epoch.set(self.epoch)
        self._relay.metrics.config_reloads.labels("accepted").inc()
        self._relay.log.info("configuration reloaded", config_epoch=self.epoch, warnings=warnings)
        return Reloaded(True, self.epoch, warnings)

    def _refused(self, problems: tuple[str, ...]) -> Reloaded:
        self.last_error = "; ".join(problems)
        self._relay.metrics.config_reloads.labels("refused").inc()
        self._relay.log.error(
            "configuration refused: the old one stays in force",
            config_epoch=self.epoch,
            problems=problems,
        )
        return Reloaded(False, self.epoch, problems)


def _with_old_values(new: Config, old: Config, keys: tuple[str, ...]) -> Config:
    """The new configuration, but for what a running process cannot take up."""
    sections = {key.partition(".")[0] for key in keys}
    return new.model_copy(update={name: getattr(old, name) for name in sections})
