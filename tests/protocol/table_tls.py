"""STARTTLS and AUTH: rules and injection (RFC 3207, 4954; requirements B1-B5, B9-B11)."""

from tests.protocol.dialogue import CONNECTED, ENCRYPTED, GREETED, IN_MAIL, LOGGED_IN, Case

_TLS = f"{GREETED}\nC: STARTTLS"
_AFTER = "S: 220\nTLS\nC: NOOP after\nS: 250 2.0.0"
_WRONG = "AHdyb25nAHdyb25n"  # \0wrong\0wrong

CASES = [
    Case("mail needs TLS first",
         f"{GREETED}\nC: MAIL FROM:<{{sender}}>\nS: 530 5.7.0 Must issue a STARTTLS command first"),
    Case("AUTH PLAIN needs TLS first", f"{GREETED}\nC: AUTH PLAIN {{plain}}\nS: 530 5.7.0"),
    Case("AUTH LOGIN in the clear gets no challenge", f"{GREETED}\nC: AUTH LOGIN\nS: 530 5.7.0"),
    Case("RSET, VRFY and HELP need TLS first",
         f"{GREETED}\nC: RSET\nS: 530\nC: VRFY x\nS: 530\nC: HELP\nS: 530"),
    Case("STARTTLS with an argument is refused", f"{GREETED}\nC: STARTTLS now\nS: 501"),
    Case("STARTTLS needs no EHLO, and forgets none",
         f"{CONNECTED}\nC: STARTTLS\nS: 220\nTLS\nC: EHLO client.test\nS: 250"),
    Case("a second STARTTLS is refused",
         f"{ENCRYPTED}\nC: STARTTLS\nS: 503 5.5.1\nC: NOOP\nS: 250"),
    Case("EHLO before TLS is forgotten",
         f"{_TLS}\nS: 220\nTLS\nC: AUTH PLAIN {{plain}}\nS: 503 5.5.1"),
    Case("NOOP injected after STARTTLS is thrown away", f"{_TLS}\nC: NOOP\n{_AFTER}"),
    Case("EHLO injected after STARTTLS is thrown away",
         f"{_TLS}\nC: EHLO evil.test\nS: 220\nTLS\nC: AUTH PLAIN {{plain}}\nS: 503 5.5.1"),
    Case("AUTH and MAIL injected after STARTTLS are thrown away",
         f"{_TLS}\nC: EHLO evil.test\nC: AUTH PLAIN {{plain}}\nC: MAIL FROM:<{{sender}}>\n"
         "S: 220\nTLS\nC: EHLO client.test\nS: 250\nC: MAIL FROM:<{sender}>\nS: 530 5.7.0"),
    Case("half a command injected after STARTTLS is thrown away",
         f"{_TLS}\nC- RSET ignored, and then \n{_AFTER}"),
    Case("a command in the clear after 220 is not executed",
         f"{_TLS}\nS: 220\nC: EHLO evil.test\nC: NOOP\nDEAD\nMAIL 0"),
    Case("garbage for a ClientHello is harmless",
         f"{_TLS}\nS: 220\nC: \\x16\\x03\\x01\\xff\\xff\nDEAD"),
    Case("implicit TLS takes logins and offers no STARTTLS",
         f"{CONNECTED}\nC: EHLO client.test\nS: 250\nC: STARTTLS\nS: 503|502\n"
         "C: AUTH PLAIN {plain}\nS: 235\nC: MAIL FROM:<{sender}>\nS: 250", implicit_tls=True),
    Case("AUTH PLAIN with an initial response",
         f"{ENCRYPTED}\nC: AUTH PLAIN {{plain}}\nS: 235 2.7.0"),
    Case("AUTH PLAIN in two steps", f"{ENCRYPTED}\nC: AUTH PLAIN\nS: 334 \nC: {{plain}}\nS: 235"),
    Case("AUTH LOGIN in three steps",
         f"{ENCRYPTED}\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: {{username64}}\n"
         "S: 334 UGFzc3dvcmQ6\nC: {password64}\nS: 235 2.7.0 Authentication successful."),
    Case("AUTH LOGIN with the user name at once",
         f"{ENCRYPTED}\nC: AUTH LOGIN {{username64}}\nS: 334 UGFzc3dvcmQ6\n"
         f"C: {{password64}}\nS: 235"),
    Case("mechanism names are in any case",
         f"{ENCRYPTED}\nC: AUTH plain {{plain}}\nS: 235"),
    Case("AUTH after HELO is out of order",
         f"{GREETED}\nC: STARTTLS\nS: 220\nTLS\nC: HELO client.test\nS: 250\n"
         f"C: AUTH PLAIN {{plain}}\n"
         "S: 503"),
    Case("an unknown mechanism is refused", f"{ENCRYPTED}\nC: AUTH CRAM-MD5\nS: 504 5.5.4"),
    Case("AUTH without a mechanism is refused", f"{ENCRYPTED}\nC: AUTH\nS: 501 5.5.4"),
    Case("AUTH with too many words is refused", f"{ENCRYPTED}\nC: AUTH PLAIN a b\nS: 501"),
    Case("bad base64 is refused, and the session can go on",
         f"{ENCRYPTED}\nC: AUTH PLAIN !!!\nS: 501 5.5.2\nC: AUTH PLAIN {{plain}}\nS: 235"),
    Case("base64 with a line end inside is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN\nS: 334\nC: AGFwcA\nS: 501 5.5.2"),
    Case("a PLAIN message of the wrong form is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN YXBw\nS: 501 5.5.2"),
    Case("an asterisk cancels the exchange",
         f"{ENCRYPTED}\nC: AUTH PLAIN\nS: 334\nC: *\nS: 501 5.7.0\nC: NOOP\nS: 250"),
    Case("an asterisk cancels AUTH LOGIN at the password",
         f"{ENCRYPTED}\nC: AUTH LOGIN\nS: 334\nC: {{username64}}\nS: 334\nC: *\nS: 501\n"
         f"C: NOOP\nS: 250"),
    Case("a wrong password and an unknown user hear the same",
         f"{ENCRYPTED}\nC: AUTH PLAIN AGFwcAB3cm9uZw==\n"
         "S: 535 5.7.8 Authentication Credentials Invalid\n"
         f"C: AUTH PLAIN {_WRONG}\nS: 535 5.7.8 Authentication Credentials Invalid"),
    Case("an empty password is wrong", f"{ENCRYPTED}\nC: AUTH PLAIN AGFwcAA=\nS: 535 5.7.8"),
    Case("an empty response is no PLAIN message", f"{ENCRYPTED}\nC: AUTH PLAIN =\nS: 501"),
    Case("an authorization identity of another is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN cm9vdAB4AHk=\nS: 535 5.7.8"),
    Case("a user name with control characters is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN AGENCmIAeA==\nS: 535 5.7.8"),
    Case("a user name that is not UTF-8 is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN AP/+AHg=\nS: 535"),
    Case("a session is cut after too many failed logins",
         f"{ENCRYPTED}\n" + f"C: AUTH PLAIN {_WRONG}\nS: 535 5.7.8\n" * 3 + "S: 421 4.7.0\nCLOSED"),
    Case("an AUTH line that is too long is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN {'A' * 13_000}\nS: 500 5.5\nC: NOOP\nS: 250"),
    Case("a response that is too long is refused",
         f"{ENCRYPTED}\nC: AUTH PLAIN\nS: 334\nC: {'A' * 13_000}\nS: 500 5.5\nC: NOOP\nS: 250"),
    Case("a second login is refused", f"{LOGGED_IN}\nC: AUTH PLAIN {{plain}}\nS: 503 5.5.1"),
    Case("no login within a transaction", f"{IN_MAIL}\nC: AUTH PLAIN {{plain}}\nS: 503 5.5.1"),
    Case("relaying by a percent hack needs a login",
         f"{ENCRYPTED}\nC: MAIL FROM:<{{sender}}>\nS: 530\nC: RCPT TO:<a%b.test@relay.test>\n"
         f"S: 530"),
]  # fmt: skip
