"""What rows of the log take on the disk beside what is told in them, in octets, about: the other
columns, and entries of indexes.

The files of tables do not become smaller when rows go, so the log counts for itself.
"""

MESSAGE = 600
RECIPIENT = 160
EVENT = 110
