"""What every section of the configuration is: frozen, without unknown keys."""

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_written(cls, value: object) -> object:
        """A section whose keys are all left out (or commented out) has its defaults."""
        return {} if value is None else value
