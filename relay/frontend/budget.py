"""How many octets of messages all sessions together hold in memory, and how many they may."""


class Budget:
    """A count with a limit. Pure; one for the whole front end."""

    __slots__ = ("held", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @property
    def is_spent(self) -> bool:
        """Whether no new message should be begun."""
        return self.held >= self.limit

    def take(self, octets: int) -> bool:
        """Count `octets` more (or less, where negative); False where that is above the limit.

        They are counted all the same: whoever took them gives them back with `give_back`.
        """
        self.held += octets
        return octets <= 0 or self.held <= self.limit

    def give_back(self, octets: int) -> None:
        self.held -= octets
