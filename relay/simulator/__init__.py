"""The mailbox simulator: a receiving server on loopback, so that a first message leaves nowhere.

It takes what the relay delivers, checks its DKIM signatures against the relay's own keys, writes it
to a mailbox directory and answers some recipients as a difficult destination would.
"""
