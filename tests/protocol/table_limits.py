"""Bounds: sizes, recipients, messages, commands (requirements A5, A7, C4). See `BOUNDS`."""

from tests.protocol.dialogue import ENCRYPTED, IN_DATA, IN_MAIL, LOGGED_IN, Case

_RCPT = "C: RCPT TO:<{recipient}>\n"
_HEADER = "C: From: <{sender}>\nC: \n"
_SEND = (
    "C: MAIL FROM:<{sender}>\nC: RCPT TO:<{recipient}>\nC: DATA\nS: 250\nS: 250\nS: 354\n"
    f"{_HEADER}C: .\nS: 250 Ok\n"
)
_LINE = f"C: {'x' * 98}\n"  # 100 octets with its CRLF

CASES = [
    Case("a message above the limit is refused after its end, and the session goes on",
         f"{IN_DATA}\n{_HEADER}{_LINE * 1001}C: .\n"
         f"S: 552 5.3.4 Message is too long.\n{_SEND}MAIL 1"),
    Case("a message far above the limit ends the session",
         f"{IN_DATA}\n{_HEADER}{_LINE * 9_000}S: 552 5.3.4\nDEAD\nMAIL 0"),
    Case("commands after a message above the limit are commands",
         f"{IN_DATA}\n{_HEADER}{_LINE * 1001}C: .\nC: NOOP\nC: QUIT\nS: 552\nS: 250\n"
         f"S: 221\nMAIL 0"),
    Case("a header above the limit is refused",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: X: {'y' * 20_000}\nC: \nC: .\n"
         "S: 552 5.3.4\nC: NOOP\nS: 250\nMAIL 0"),
    Case("a header of many fields above the limit is refused",
         f"{IN_DATA}\n{'C: X: y' + chr(10)}" + "C: X: y\n" * 5_000 + "C: \nC: .\nS: 552\nMAIL 0"),
    Case("a header line of 3000 octets is accepted or refused as a whole",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: X: {'y' * 3_000}\nC: \nC: .\nS: 250|55"),
    Case("a body line of 50 kB is accepted",
         f"{IN_DATA}\n{_HEADER}C: {'x' * 50_000}\nC: .\nS: 250"),
    Case("from the limit on recipients are refused for now, and the others served",
         f"{IN_MAIL}\n{_RCPT * 13}" + "S: 250 2.1.5\n" * 10 + "S: 452 4.5.3\n" * 3
         + f"C: DATA\nS: 354\n{_HEADER}C: .\nS: 250 Ok\nMAIL 1"),
    Case("a session takes so many messages and no more",
         f"{LOGGED_IN}\n{_SEND * 12}C: MAIL FROM:<{{sender}}>\nS: 421 4.7.0\nCLOSED\nMAIL 12"),
    Case("a session that only makes errors is cut",
         f"{ENCRYPTED}\n" + "C: FROB\nS: 500\n" * 99 + "C: FROB\nS: 500\nS: 421 4.7.0\nCLOSED"),
    Case("a session that only says NOOP is cut at last",
         f"{ENCRYPTED}\n" + "C: NOOP\n" * 998 + "S: 250\n" * 998
         + "C: NOOP\nS: 421 4.7.0\nCLOSED"),
]  # fmt: skip
