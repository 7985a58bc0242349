"""Content: what ends it, what refuses it, what arrives (requirements A10, B6, B7)."""

from dataclasses import dataclass

from tests.protocol.dialogue import IN_DATA, Case

# What stands between two parts of one message and looks like its end to some server.
# Only CR LF . CR LF is the end (SEC Consult 2023; CVE-2023-51764/5/6, CVE-2024-27305).
LOOK_ALIKES = [
    r"\n.\n",
    r"\n.\r\n",
    r"\r\n.\n",
    r"\r.\r",
    r"\r.\r\n",
    r"\r\n.\r",
    r"\n.\r",
    r"\r.\n",
    r"\r\n.\r\r\n",
    r"\r\r\n.\r\n",
    r"\r\r\n.\r\r\n",
    r"\n\n.\r\n",
    r"\n\r.\n\r",
    r"\n\r\n.\n\r\n",
    r"\n\n.\n\n",
    r"\r\n\0.\r\n",
    r"\r\n.\0\r\n",
    r"\0\r\n.\0\r\n",
    r"\r\0\n.\r\n",
    r"\r\n..\r\n",
    r"\r\n .\r\n",
    r"\r\n. \r\n",
    r"\r\n.\t\r\n",
    r"\r\n.\x0b\r\n",
    r"\r\n\x85.\x85\r\n",
    r"\x0d.\x0d",
    r"\r\n.",
]
SMUGGLED = (
    r"MAIL FROM:<evil@sender.test>\r\nRCPT TO:<smuggled@example.test>\r\nDATA\r\nX: y\r\n\r\nz"
)


def smuggling(look_alike: str) -> str:
    """One message with a look-alike and a second message behind it; one reply, no second."""
    return (
        f"{IN_DATA}\nC- From: <{{sender}}>\\r\\nSubject: x\\r\\n\\r\\nfirst{look_alike}{SMUGGLED}\n"
        "C- \\r\\n.\\r\\n\nS: 250 Ok|55"
    )


CASES = [
    Case("a bare LF in content refuses the message and closes",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: \nC: a\\nb\nC: .\nS: 554 5.6.11\nCLOSED\nMAIL 0"),
    Case("a bare CR in content refuses the message and closes",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: \nC: a\\rb\nC: .\nS: 554 5.6.11\nCLOSED\nMAIL 0"),
    Case("a bare LF in a header refuses the message",
         f"{IN_DATA}\nC: From: <{{sender}}>\\nX: y\nC: \nC: .\nS: 554 5.6.11\nCLOSED\nMAIL 0"),
    Case("a NUL in content refuses the message",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: \nC: a\\0b\nC: .\nS: 554 5.6.0\nC: NOOP\n"
         f"S: 250\nMAIL 0"),
    Case("what is no header refuses the message",
         f"{IN_DATA}\nC: not a header\nC: \nC: body\nC: .\nS: 554 5.6\nC: NOOP\nS: 250\nMAIL 0"),
    Case("an mbox line on top refuses the message",
         f"{IN_DATA}\nC: From {{sender}} Tue Nov 24\nC: To: x\nC: \nC: .\nS: 554 5.6\nMAIL 0"),
    Case("odd header names are names like others",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: __proto__: x\nC: __class__: y\nC: \nC: .\n"
         f"S: 250|554"),
    Case("a message without a body is accepted",
         f"{IN_DATA}\nC: From: <{{sender}}>\nC: .\nS: 250 Ok\nMAIL 1"),
]  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What the client sends as a body, and what must arrive."""

    name: str
    sent: bytes
    arrives: bytes


CONTENTS = [
    Content("dots at line starts lose one dot", b"..a\r\n...\r\n.b\r\n", b".a\r\n..\r\nb\r\n"),
    Content("a first line of a dot and text loses the dot", b".first\r\n", b"first\r\n"),
    Content("dots inside lines stay", b"a.b\r\na..\r\n", b"a.b\r\na..\r\n"),
    Content("empty lines stay", b"\r\n\r\na\r\n\r\n\r\n", b"\r\n\r\na\r\n\r\n\r\n"),
    Content("spaces and tabs at line ends stay", b"a \t\r\n  \r\n", b"a \t\r\n  \r\n"),
    Content("8-bit octets stay",
            bytes(range(128, 256)) + b"\r\n", bytes(range(128, 256)) + b"\r\n"),
    Content("control characters stay", b"\x01\x07\x1b\x7f\r\n", b"\x01\x07\x1b\x7f\r\n"),
    Content("a long body stays", b"0123456789\r\n" * 7_000, b"0123456789\r\n" * 7_000),
    Content("a body of dots stays", b"..\r\n" * 5_000, b".\r\n" * 5_000),
]  # fmt: skip
