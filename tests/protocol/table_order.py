"""Order of commands, replies, EHLO, pipelining (RFC 5321 §4.1.4, RFC 2920; requirements A1-A8)."""

from tests.protocol.dialogue import (
    CONNECTED,
    ENCRYPTED,
    GREETED,
    IN_DATA,
    IN_MAIL,
    LOGGED_IN,
    Case,
)

CASES = [
    Case("the greeting names the server", f"{CONNECTED}\nC: QUIT\nS: 221 2.0.0\nCLOSED"),
    Case("HELO is answered in one line", f"{CONNECTED}\nC: HELO client.test\nS: 250 |530"),
    Case("an address literal greets", f"{CONNECTED}\nC: EHLO [127.0.0.1]\nS: 250 "),
    Case("an IPv6 literal greets", f"{CONNECTED}\nC: EHLO [IPv6:::1]\nS: 250 "),
    Case("EHLO without an argument is refused", f"{CONNECTED}\nC: EHLO\nS: 501 5.5.4"),
    Case("EHLO with a space in its name is refused", f"{CONNECTED}\nC: EHLO a b\nS: 501"),
    Case("commands are in any case", f"{CONNECTED}\nC: eHlO client.test\nS: 250\nC: quit\nS: 221"),
    Case("NOOP may have an argument", f"{GREETED}\nC: NOOP hello\nS: 250 2.0.0"),
    Case("an unknown command is refused and the session goes on",
         f"{GREETED}\nC: FROB x\nS: 500 5.5.2\nC: NOOP\nS: 250"),
    Case("an empty line is refused and the session goes on",
         f"{GREETED}\nC: \nS: 500 5.5.2\nC: NOOP\nS: 250"),
    Case("QUIT with an argument is refused", f"{GREETED}\nC: QUIT now\nS: 501\nC: QUIT\nS: 221"),
    Case("MAIL before EHLO is out of order", f"{CONNECTED}\nC: MAIL FROM:<{{sender}}>\nS: 503|530"),
    Case("MAIL before EHLO inside TLS is out of order",
         f"{GREETED}\nC: STARTTLS\nS: 220\nTLS\nC: MAIL FROM:<{{sender}}>\nS: 503 5.5.1"),
    Case("RCPT before MAIL is out of order",
         f"{LOGGED_IN}\nC: RCPT TO:<{{recipient}}>\nS: 503 5.5.1"),
    Case("DATA before MAIL is out of order", f"{LOGGED_IN}\nC: DATA\nS: 503 5.5.1"),
    Case("DATA before RCPT is out of order", f"{IN_MAIL}\nC: DATA\nS: 503 5.5.1"),
    Case("a second MAIL is out of order", f"{IN_MAIL}\nC: MAIL FROM:<{{sender}}>\nS: 503 5.5.1"),
    Case("DATA with an argument is refused",
         f"{IN_MAIL}\nC: RCPT TO:<{{recipient}}>\nS: 250\nC: DATA x\nS: 501\nC: DATA\nS: 354"),
    Case("RSET ends the transaction",
         f"{IN_MAIL}\nC: RSET\nS: 250 2.0.0\nC: RCPT TO:<{{recipient}}>\nS: 503"),
    Case("RSET with an argument is refused", f"{LOGGED_IN}\nC: RSET x\nS: 501"),
    Case("EHLO ends the transaction and keeps the login",
         f"{IN_MAIL}\nC: EHLO client.test\nS: 250\nC: RCPT TO:<{{recipient}}>\nS: 503\n"
         "C: MAIL FROM:<{sender}>\nS: 250 2.1.0"),
    Case("NOOP leaves the transaction alone",
         f"{IN_MAIL}\nC: NOOP\nS: 250\nC: RCPT TO:<{{recipient}}>\nS: 250 2.1.5"),
    Case("VRFY and EXPN tell nothing",
         f"{LOGGED_IN}\nC: VRFY {{recipient}}\nS: 252|502\nC: EXPN staff\nS: 252|502"),
    Case("HELP is answered", f"{LOGGED_IN}\nC: HELP\nS: 214\nC: HELP MAIL\nS: 214"),
    Case("BDAT, which is not offered, never becomes commands",
         f"{IN_MAIL}\nC: RCPT TO:<{{recipient}}>\nS: 250\nC: BDAT 20 LAST\nC: RSET\nC: NOOP\n"
         "S: 50\nDEAD\nMAIL 0"),
    Case("a message is accepted with its id",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: \nC: Hello\nC: .\nS: 250 Ok 01\nMAIL 1\n"
         "C: QUIT\nS: 221\nCLOSED"),
    Case("several messages go through one session",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: \nC: 1\nC: .\nS: 250 Ok 01\n"
         "C: MAIL FROM:<{sender}>\nS: 250\nC: RCPT TO:<{recipient}>\nS: 250\nC: DATA\nS: 354\n"
         "C: From: <{sender}>\nC: \nC: 2\nC: .\nS: 250 Ok 01\nMAIL 2"),
    Case("all commands up to DATA may be pipelined",
         f"{LOGGED_IN}\nC: MAIL FROM:<{{sender}}>\nC: RCPT TO:<{{recipient}}>\nC: DATA\n"
         "S: 250 2.1.0\nS: 250 2.1.5\nS: 354\nC: From: <{sender}>\nC: \nC: .\nS: 250 Ok"),
    Case("content and what follows it may be pipelined",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: \nC: one\nC: .\nC: RSET\n"
         f"C: MAIL FROM:<{{sender}}>\n"
         "C: RCPT TO:<{recipient}>\nC: DATA\nS: 250 Ok 01\nS: 250 2.0.0\nS: 250 2.1.0\n"
         "S: 250 2.1.5\n"
         "S: 354\nC: From: <{sender}>\nC: \nC: two\nC: .\nC: QUIT\nS: 250 Ok 01\nS: 221\nMAIL 2"),
    Case("DATA after refused recipients only never becomes a message",
         f"{LOGGED_IN}\nC: MAIL FROM:<{{sender}}>\nC: RCPT TO:<nobody>\nC: DATA\n"
         "S: 250\nS: 553 5.1.3\nS: 554|503\nC: NOOP\nS: 250\nMAIL 0"),
    Case("one bad recipient does not spoil the others",
         f"{IN_MAIL}\nC: RCPT TO:<bad\nS: 501|553\nC: RCPT TO:<{{recipient}}>\nS: 250\nC: DATA\n"
         "S: 354\nC: From: <{sender}>\nC: \nC: .\nS: 250 Ok\nMAIL 1"),
    Case("the null reverse-path is accepted", f"{LOGGED_IN}\nC: MAIL FROM:<>\nS: 250 2.1.0"),
    Case("extensions are told before TLS, without AUTH",
         f"{CONNECTED}\nC: EHLO client.test\nS: 250 "),
    Case("mail needs a login", f"{ENCRYPTED}\nC: MAIL FROM:<{{sender}}>\nS: 530 5.7.0"),
    Case("recipients need a login", f"{ENCRYPTED}\nC: RCPT TO:<{{recipient}}>\nS: 530 5.7.0"),
    Case("content needs a login", f"{ENCRYPTED}\nC: DATA\nS: 530 5.7.0"),
    Case("the null sender needs a login", f"{ENCRYPTED}\nC: MAIL FROM:<>\nS: 530 5.7.0"),
]  # fmt: skip
