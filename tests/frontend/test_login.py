import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.frontend.client import Client
from tests.frontend.house import PASSWORD, USERNAME, House


async def ready(client: Client) -> None:
    await client.reply()
    await client.start_tls()
    await client.say(b"EHLO client.test")


async def test_failed_logins_are_answered_late_and_counted(opened: Callable[..., Any]):
    async with opened(bounds={"failed_login_delay": "30ms"}) as house, Client(house) as client:
        await ready(client)
        before = client.reader._loop.time()  # type: ignore[attr-defined]  # the loop's own clock
        assert (await client.auth(password="wrong")).startswith("535 5.7.8")
        assert client.reader._loop.time() - before >= 0.03  # type: ignore[attr-defined]  # as above
        assert house.metric("logins_total", listener="submission", result="failed") == 1


async def test_a_blocked_client_hears_so_at_connect_and_another_does_not(
    opened: Callable[..., Any],
):
    async with opened(bounds={"failed_login_delay": "1ms", "block_after": 2}) as house:
        async with Client(house) as client:
            await ready(client)
            await client.auth(password="wrong")
            await client.auth(password="wrong")
            # Open before the block: no hash is computed for it any more.
            assert (await client.auth()).startswith(
                "421 4.7.0 Too many failed logins; try again in"
            )
            assert await client.closed()
        async with Client(house) as blocked:
            assert (await blocked.reply()).startswith("421 4.7.0 Too many failed logins")
            assert await blocked.closed()
        async with Client(house, source="127.0.0.9") as other:
            await other.log_in()
        assert house.metric("connections_refused_total", listener="submission", reason="blocked")


async def test_strangers_cannot_lock_out_a_user_who_logged_in_before(opened: Callable[..., Any]):
    async with opened(bounds={"failed_login_delay": "1ms", "block_after": 2}) as house:
        async with Client(house, source="127.0.0.30") as client:
            await client.log_in()
        for number in range(5):
            async with Client(house, source=f"127.0.0.{40 + number}") as stranger:
                await ready(stranger)
                await stranger.auth(password="wrong")
                await stranger.auth(password="wrong")
        async with Client(house, source="127.0.0.30") as client:
            await client.log_in()


async def test_too_many_sessions_of_a_credential_are_refused(opened: Callable[..., Any]):
    async with opened(bounds={"connections_per_credential": 1}) as house:
        async with Client(house) as first, Client(house) as second:
            await first.log_in()
            await ready(second)
            assert (await second.auth()).startswith("421 4.7.0 Too many concurrent")
        async with Client(house) as third:
            assert (await third.reply()).startswith("220")


async def test_neither_passwords_nor_unknown_names_are_logged(house: House):
    async with Client(house) as client:
        await ready(client)
        await client.auth(username="my secret password", password="another secret")
        await client.auth(password="a third secret")
        await client.auth()
    log = house.log.getvalue()
    assert "login failed" in log
    assert "secret" not in log
    assert PASSWORD not in log
    assert '"credential": "app"' in log or '"credential":"app"' in log


async def test_a_failure_of_ours_within_a_login_shows_no_password(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of order")

    monkeypatch.setattr(house.authenticator, "check", fail)
    async with Client(house) as client:
        await ready(client)
        answer = await client.auth()
    assert answer.startswith("451 4.3.0 Temporary service failure; reference")
    log = house.log.getvalue()
    assert "RuntimeError: out of order" in log
    plain = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, plain):
        assert secret not in log
        assert secret not in answer


async def test_a_one_time_login_works_once(house: House):
    house.authenticator.allow_once(USERNAME, "token", 60)
    async with Client(house) as client:
        await ready(client)
        assert (await client.auth(password="token")).startswith("235")
        assert (await client.send()).startswith("250 Ok")
    house.authenticator.allow_once(USERNAME, "token", 60)  # as another process still has it
    async with Client(house) as client:
        await ready(client)
        assert (await client.auth(password="token")).startswith("535 5.7.8")
    async with Client(house) as client:
        await ready(client)
        assert (await client.auth(password="token")).startswith("535 5.7.8")
