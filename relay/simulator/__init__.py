"""The two simulators of mailboxes, so that a message can be tried out that reaches nobody.

The *mailbox simulator* (`inside`) is in every worker: it takes the mail for the addresses of
`relay.mail.simulated` from the relay's own hand, over a pair of sockets that nobody else can reach,
and does what they promise. The *development server* (`server`) listens on loopback, takes all mail,
checks its DKIM signatures and keeps it in a directory.
"""
