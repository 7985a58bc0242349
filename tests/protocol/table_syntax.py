"""Malformed input, addresses and parameters (requirements A4, A8, A9, A12, B8)."""

from tests.protocol.dialogue import GREETED, IN_MAIL, LOGGED_IN, Case

_GOES_ON = "C: NOOP\nS: 250 2.0.0"


def _mail(name: str, argument: str, reply: str) -> Case:
    return Case(name, f"{LOGGED_IN}\nC: MAIL {argument}\nS: {reply}\n{_GOES_ON}")


def _rcpt(name: str, argument: str, reply: str) -> Case:
    return Case(name, f"{IN_MAIL}\nC: RCPT {argument}\nS: {reply}\n{_GOES_ON}")


CASES = [
    # --- lines
    Case("a bare LF in a command refuses it, once",
         f"{GREETED}\nC: NOOP\\nNOOP\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("a bare CR in a command refuses it, once",
         f"{GREETED}\nC: NOOP\\rNOOP\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("a bare CR is not echoed", f"{LOGGED_IN}\nC: MAIL FROM:<a\\r250 Ok@b.test>\nS: 500 5.5.2"),
    Case("a command injected after a bare LF is not executed",
         f"{IN_MAIL}\nC: NOOP\\nRSET\nS: 500 5.5.2\nC: RCPT TO:<{{recipient}}>\nS: 250 2.1.5"),
    Case("CR CR LF is refused", f"{GREETED}\nC: NOOP\\r\nS: 500\n{_GOES_ON}"),
    Case("NUL in a command is refused", f"{GREETED}\nC: NOOP \\0\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("ESC in a command is refused", f"{GREETED}\nC: NOOP \\x1b[2J\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("a control character in a name is refused", f"{GREETED}\nC: EHLO a\\x07b\nS: 50"),
    Case("octets that are no UTF-8 are refused",
         f"{GREETED}\nC: NOOP \\xff\\xfe\nS: 500\n{_GOES_ON}"),
    Case("a verb of 8-bit octets is refused",
         f"{GREETED}\nC: N\\xc3\\xb6\\xc3\\xb6P\nS: 500\n{_GOES_ON}"),
    Case("a long command line is refused",
         f"{GREETED}\nC: NOOP {'x' * 4_000}\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("a command line of 100 kB is refused, once",
         f"{GREETED}\nC: NOOP {'x' * 100_000}\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("a command line of 3 MB is refused, once",
         f"{GREETED}\nC: NOOP {'x' * 3_000_000}\nS: 500 5.5.2\n{_GOES_ON}"),
    Case("trailing spaces are no argument", f"{LOGGED_IN}\nC: RSET  \nS: 250"),
    # --- reverse-paths
    _mail("a reverse-path needs brackets", "FROM:a@b.test", "501"),
    _mail("a reverse-path needs an address", "FROM:", "501"),
    _mail("MAIL needs FROM", "<a@b.test>", "501"),
    _mail("MAIL is not TO", "TO:<a@b.test>", "501"),
    _mail("a bracket must be closed", "FROM:<a@b.test", "501|553"),
    _mail("a domain is needed", "FROM:<nodomain>", "553"),
    _mail("two dots in a domain are refused", "FROM:<a@b..test>", "553"),
    _mail("a space in an address is refused", "FROM:<a b@c.test>", "553|501"),
    _mail("a comment in an address is refused", "FROM:<(c)a@b.test>", "553|501"),
    _mail("two at signs are refused", "FROM:<a@b@c.test>", "553"),
    _mail("an 8-bit address needs SMTPUTF8", "FROM:<\\xc3\\xb6@b.test>", "553"),
    _mail("an 8-bit address goes with SMTPUTF8", "FROM:<\\xc3\\xb6@sender.test> SMTPUTF8", "250"),
    _mail("a space after the colon is forgiven", "FROM: <{sender}>", "250"),
    _mail("a local part of 65 octets is refused", f"FROM:<{'a' * 65}@b.test>", "553"),
    _mail("a path of 300 octets is refused", f"FROM:<a@{'b.' * 145}test>", "553"),
    # --- parameters of MAIL
    _mail("SIZE within the limit", "FROM:<{sender}> SIZE=100000", "250"),
    _mail("SIZE above the limit", "FROM:<{sender}> SIZE=100001",
          "552 5.3.4 Message is too long. The limit is 100000 octets."),
    _mail("SIZE needs a number", "FROM:<{sender}> SIZE=big", "501 5.5.4"),
    _mail("SIZE is not negative", "FROM:<{sender}> SIZE=-1", "501 5.5.4"),
    _mail("SIZE has at most 20 digits", "FROM:<{sender}> SIZE=999999999999999999999", "501"),
    _mail("BODY=8BITMIME", "FROM:<{sender}> BODY=8BITMIME", "250"),
    _mail("BODY in lower case", "FROM:<{sender}> body=8bitmime", "250"),
    _mail("BODY=BINARYMIME is not offered", "FROM:<{sender}> BODY=BINARYMIME", "501|555"),
    _mail("SMTPUTF8 takes no value", "FROM:<{sender}> SMTPUTF8=1", "501"),
    _mail("AUTH=<> is accepted", "FROM:<{sender}> AUTH=<>", "250"),
    _mail("AUTH= with the null sender is accepted", "FROM:<> AUTH=<>", "250"),
    _mail("AUTH= with a mailbox is accepted", "FROM:<{sender}> AUTH=a+2Bb@c.test", "250"),
    _mail("AUTH= that is no xtext is refused", "FROM:<{sender}> AUTH=a+zz", "501"),
    _mail("RET=HDRS and ENVID", "FROM:<{sender}> RET=HDRS ENVID=QqAb+2B1", "250"),
    _mail("RET is FULL or HDRS", "FROM:<{sender}> RET=SOME", "501"),
    _mail("ENVID must be xtext", "FROM:<{sender}> ENVID=a+2", "501"),
    _mail("ENVID cannot hide a line end", "FROM:<{sender}> ENVID=a+0D+0AX:", "501"),
    _mail("ENVID is at most 100 characters", f"FROM:<{{sender}}> ENVID={'a' * 101}", "501"),
    _mail("a parameter twice is refused", "FROM:<{sender}> SIZE=1 SIZE=2", "501"),
    _mail("an unknown parameter is refused", "FROM:<{sender}> FROB=1", "555 5.5.4"),
    _mail("REQUIRETLS is not ignored", "FROM:<{sender}> REQUIRETLS", "555 5.5.4 REQUIRETLS"),
    _mail("a malformed parameter is refused", "FROM:<{sender}> =x", "501"),
    _mail("NOTIFY is none of MAIL's", "FROM:<{sender}> NOTIFY=NEVER", "555"),
    Case("parameters need EHLO",
         f"{LOGGED_IN}\nC: HELO client.test\nS: 250\nC: MAIL FROM:<{{sender}}> SIZE=1\nS: 501|555"),
    # --- recipients
    _rcpt("a recipient needs brackets", "TO:a@b.test", "501"),
    _rcpt("a recipient is not null", "TO:<>", "553|501"),
    _rcpt("a recipient needs a domain", "TO:<nodomain>", "553"),
    _rcpt("a quoted local part is kept", 'TO:<"a b>"@example.test>', "250"),
    _rcpt("a quoted local part must be closed", 'TO:<"a b@example.test>', "501|553"),
    _rcpt("a source route is dropped", "TO:<@relay.test,@x.test:a@example.test>", "250|553"),
    _rcpt("a domain literal is understood", "TO:<a@[192.0.2.1]>", "250|553"),
    _rcpt("a port in a domain literal is refused", "TO:<a@[192.0.2.1]:25>", "553"),
    _rcpt("a NUL in an address is refused", "TO:<a\\0@example.test>", "500"),
    _rcpt("NOTIFY=NEVER", "TO:<{recipient}> NOTIFY=NEVER", "250"),
    _rcpt("NOTIFY with a list", "TO:<{recipient}> NOTIFY=SUCCESS,FAILURE,DELAY", "250"),
    _rcpt("NOTIFY=NEVER stands alone", "TO:<{recipient}> NOTIFY=NEVER,DELAY", "501"),
    _rcpt("NOTIFY with an unknown word is refused", "TO:<{recipient}> NOTIFY=ALWAYS", "501"),
    _rcpt("ORCPT with xtext", "TO:<{recipient}> ORCPT=rfc822;a+2Bb@example.test", "250"),
    _rcpt("ORCPT with bad xtext is refused", "TO:<{recipient}> ORCPT=rfc822;a+zz@b", "501"),
    _rcpt("ORCPT needs a type", "TO:<{recipient}> ORCPT=a@example.test", "501"),
    _rcpt("ORCPT cannot hide a line end", "TO:<{recipient}> ORCPT=rfc822;a+0Ab", "501"),
    _rcpt("an unknown parameter of RCPT is refused", "TO:<{recipient}> FROB", "555"),
    _rcpt("SIZE is none of RCPT's", "TO:<{recipient}> SIZE=1", "555"),
]  # fmt: skip
