import asyncio
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from relay.frontend import replies
from relay.frontend.auth import Login, read_login
from relay.frontend.replies import Answer


def exchange(argument: str | None, *lines: bytes) -> tuple[Login | Answer, list[bytes]]:
    """What comes of AUTH, and the challenges that were sent."""
    challenges: list[bytes] = []
    left = list(lines)

    async def ask(challenge: bytes) -> bytes:
        challenges.append(challenge)
        return left.pop(0)

    return asyncio.run(read_login(argument, ask)), challenges


def test_plain_comes_in_one_step_or_two():
    message = b64encode(b"\0user\0pass")
    assert exchange(f"PLAIN {message.decode()}") == (Login("user", "pass"), [])
    assert exchange("plain", message) == (Login("user", "pass"), [b"334 \r\n"])


def test_login_asks_for_what_is_missing():
    user, password = b64encode(b"user"), b64encode(b"pass")
    both = [b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"]
    assert exchange("LOGIN", user, password) == (Login("user", "pass"), both)
    assert exchange(f"login {user.decode()}", password) == (Login("user", "pass"), both[1:])


def test_an_authorization_identity_may_be_the_user_and_no_other():
    same = b64encode(b"user\0user\0pass").decode()
    other = b64encode(b"root\0user\0pass").decode()
    assert exchange(f"PLAIN {same}")[0] == Login("user", "pass")
    assert exchange(f"PLAIN {other}")[0] is replies.AUTH_INVALID


def test_neither_name_nor_password_is_shown_by_a_repr():
    assert repr(Login("user", "pass")) == "Login()"


@given(st.text(max_size=30), st.lists(st.binary(max_size=30), min_size=2, max_size=2))
def test_no_exchange_fails_otherwise_than_by_an_answer(argument: str, lines: list[bytes]):
    exchange(argument, *lines)
    exchange(f"PLAIN {argument}", *lines)
    exchange(f"LOGIN {argument}", *lines)


@given(st.text(min_size=1).filter(str.isprintable), st.text(min_size=1))
def test_what_a_client_encodes_is_what_is_checked(username: str, password: str):
    username, password = username.replace("\0", ""), password.replace("\0", "")
    message = f"\0{username}\0{password}".encode("utf-8", "replace")
    result, _ = exchange("PLAIN", b64encode(message))
    assert result == Login(username, message.split(b"\0")[2].decode())
