"""How a store fails: nothing of what was asked for is stored then."""


class StoreError(Exception):
    """The store could not do what was asked; nothing was changed."""


class StoreFull(StoreError):
    """No room on the medium (disk full, quota, no inodes): SMTP 452 4.3.1."""


class StoreUnavailable(StoreError):
    """Any other fault of the medium: SMTP 451 4.3.0."""


class NameTaken(StoreUnavailable):
    """A living node of another installation has the name, or one whose lease has not run out."""


class BodyDamaged(StoreError):
    """The body of a message cannot be read as it was written. Its deliveries are in quarantine and
    the claims on them are gone; nothing is left to settle or release."""
