"""relay: the mail relay that a team runs in its own private network."""

__version__ = "0.1.0"
