"""Addresses of the mailbox simulator: those of the domain `simulator.<hostname of the relay>`."""

from relay.mail.envelope import domain_of


def is_simulator_address(address: str, hostname: str) -> bool:
    """Whether `address` is one of the simulator of the relay that is called `hostname`."""
    return domain_of(address).lower() == f"simulator.{hostname.lower()}"
