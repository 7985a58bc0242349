import asyncio
import http.client
import socket
import stat

import pytest

from relay.admin.client import Client, NotRunning
from relay.admin.control import (
    Health,
    LoginRequest,
    Refused,
    Reloaded,
)
from relay.admin.endpoints import (
    CREDENTIALS_LIST,
    EXPLAIN,
    LIVE_ENDPOINTS,
    ONE_TIME_LOGIN,
    QUEUE_LIST,
    RELOAD,
    STATUS,
    STORE_ENDPOINTS,
    SUPPRESSION_ADD,
    SUPPRESSION_GET,
    ExplainRequest,
    Nothing,
)
from relay.admin.server import AdminServer, ServerError, listen_control
from relay.admin.suppression import AddressRequest, SuppressRequest
from relay.store.interface import StoreUnavailable
from relay.store.values import QueueFilter, SuppressionEntry
from tests.admin.fake_relay import FakeRelay
from tests.admin.running import control_server
from tests.admin.stored import NOW, a_message


async def ask(data_dir, endpoint, question):
    return await asyncio.to_thread(Client(data_dir, timeout=10).call, endpoint, question)


async def post(path, url, body, method="POST"):
    def talk():
        connection = http.client.HTTPConnection("localhost", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request(method, url, body)
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer

    return await asyncio.to_thread(talk)


@pytest.fixture
def data_dir(tmp_path):
    path = tmp_path / "control"
    path.mkdir(mode=0o700)
    return path


async def test_the_client_and_the_relay_speak_in_values(operations, data_dir):
    await operations.store.insert(a_message("a@one.test"), None)
    async with control_server(FakeRelay(operations), data_dir):
        (entry,) = await ask(data_dir, QUEUE_LIST, QueueFilter(domain="one.test"))
        assert entry == (await operations.queue(QueueFilter()))[0]
        assert (await ask(data_dir, STATUS, Nothing())).hostname == "relay.test"
        assert [c.name for c in await ask(data_dir, CREDENTIALS_LIST, Nothing())] == ["app", "web"]
        explained = await ask(data_dir, EXPLAIN, ExplainRequest("a@b.test", "c@d.test", "news"))
        assert explained.recipient == "c@d.test"


async def test_a_refusal_reaches_the_client_as_its_sentence(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        with pytest.raises(Refused, match=r"^a@b\.test is not suppressed$") as refused:
            await ask(data_dir, SUPPRESSION_GET, AddressRequest("a@b.test"))
    assert refused.value.kind == "not_found"


async def test_a_refused_reload_is_an_answer_and_no_failure(operations, data_dir):
    relay = FakeRelay(operations, reloaded=Reloaded(False, 1, ("relay.yaml:3:1: pools: missing",)))
    async with control_server(relay, data_dir):
        answer = await ask(data_dir, RELOAD, Nothing())
    assert not answer.accepted
    assert "pools" in answer.problems[0]


async def test_a_fault_of_the_store_is_told_and_the_relay_serves_on(operations, data_dir):
    relay = FakeRelay(operations, fault=StoreUnavailable("the disk gave an error"))
    async with control_server(relay, data_dir):
        with pytest.raises(Refused, match="the disk gave an error") as refused:
            await ask(data_dir, STATUS, Nothing())
        assert refused.value.kind == "unavailable"
        relay.fault = None
        assert (await ask(data_dir, STATUS, Nothing())).health == Health(True)


async def test_a_store_that_is_away_refuses_questions_and_leaves_the_status(operations, data_dir):
    relay = FakeRelay(operations, is_away=True)
    async with control_server(relay, data_dir):
        for endpoint, question in (
            (SUPPRESSION_GET, AddressRequest("a@b.test")),
            (EXPLAIN, ExplainRequest("a@b.test", "c@d.test")),
        ):
            with pytest.raises(Refused, match="the database does not answer") as refused:
                await ask(data_dir, endpoint, question)
            assert refused.value.kind == "unavailable"
        assert (await ask(data_dir, STATUS, Nothing())).hostname == "relay.test"


async def test_an_unforeseen_fault_is_logged_and_not_shown(operations, data_dir):
    relay = FakeRelay(operations, fault=ZeroDivisionError("a secret"))
    async with control_server(relay, data_dir) as logged:
        with pytest.raises(Refused, match="its log says why") as refused:
            await ask(data_dir, STATUS, Nothing())
    assert "a secret" not in str(refused.value)
    assert "ZeroDivisionError" in logged.getvalue()


async def test_a_one_time_password_is_given_and_never_logged(operations, data_dir):
    relay = FakeRelay(operations, passwords={"app": "once-only"})
    async with control_server(relay, data_dir) as logged:
        login = await ask(data_dir, ONE_TIME_LOGIN, LoginRequest("app"))
    assert login.password == "once-only"
    assert "once-only" not in repr(login) + logged.getvalue()


async def test_the_export_streams_every_entry_in_order(operations, data_dir):
    entries = tuple(
        SuppressionEntry(f"u{n:05}@one.test", "bounce", "import", NOW, "x" * 100)
        for n in range(3_000)
    )
    for start in range(0, 3_000, 1_000):
        await operations.suppressions.add(SuppressRequest(entries[start : start + 1_000]))

    def export():
        with Client(data_dir).suppressions() as found:
            return list(found)

    async with control_server(FakeRelay(operations), data_dir):
        found = await asyncio.to_thread(export)
    assert [(entry.address, entry.evidence) for entry in found] == [
        (entry.address, entry.evidence) for entry in entries
    ]


async def test_an_empty_export_is_empty(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        assert await post(data_dir / "control.sock", "/v1/suppression/export", b"", "GET") == (
            200,
            b"",
        )


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", b"Expected `object`"),
        (b"{", b"truncated"),
        (b'{"address": 3}', b"Expected `str`"),
        (b"", b"missing required field"),
        (b"\xff", b"not understood"),
        (b'{"address": "' + b"a" * 10_001 + b'"}', b"address has more than 10000 characters"),
    ],
)
async def test_a_request_that_is_not_understood_is_refused_with_the_reason(
    operations, data_dir, body, why
):
    async with control_server(FakeRelay(operations), data_dir):
        status, answer = await post(data_dir / "control.sock", SUPPRESSION_GET.path, body)
    assert status == 400
    assert why in answer


async def test_a_number_that_the_store_cannot_take_is_refused(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        path = data_dir / "control.sock"
        for body in (b'{"after": %d}' % 2**63, b'{"which": {"upto": -%d}}' % 10**30):
            url = "/v1/queue/list" if b"after" in body else "/v1/queue/bounce"
            status, answer = await post(path, url, body)
            assert (status, b"too large a number" in answer) == (400, True)


async def test_a_request_beyond_the_bound_is_refused_before_it_is_held(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        status, answer = await post(
            data_dir / "control.sock", SUPPRESSION_ADD.path, b" " * 4_100_000
        )
    assert status == 400
    assert b"send it in parts" in answer


async def test_unknown_paths_and_methods_are_answered_in_the_same_form(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        path = data_dir / "control.sock"
        assert (await post(path, "/v1/nope", b"{}"))[0] == 404
        status, answer = await post(path, STATUS.path, b"", "GET")
    assert status == 405
    assert answer.startswith(b'{"error":')


def test_every_endpoint_has_a_path_of_its_own():
    paths = [endpoint.path for endpoint in (*STORE_ENDPOINTS, *LIVE_ENDPOINTS)]
    assert len(paths) == len(set(paths))


async def test_the_socket_is_for_its_owner_only(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        assert stat.S_IMODE((data_dir / "control.sock").stat().st_mode) == 0o600


async def test_the_socket_is_gone_after_a_clean_end(operations, data_dir):
    async with control_server(FakeRelay(operations), data_dir):
        pass
    assert list(data_dir.iterdir()) == []


async def test_the_socket_of_a_relay_that_died_is_replaced(operations, data_dir):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(data_dir / "control.sock"))
    with pytest.raises(NotRunning):
        await ask(data_dir, STATUS, Nothing())
    async with control_server(FakeRelay(operations), data_dir):
        assert (await ask(data_dir, STATUS, Nothing())).pid == 4711


def test_a_file_that_is_no_socket_is_not_replaced(data_dir):
    (data_dir / "control.sock").write_text("precious")
    with pytest.raises(ServerError, match="is not a socket"):
        listen_control(data_dir)
    assert (data_dir / "control.sock").read_text() == "precious"


async def test_a_long_data_directory_works_too(operations, tmp_path):
    deep = tmp_path / ("x" * 100) / ("y" * 100)
    deep.mkdir(parents=True)
    async with control_server(FakeRelay(operations), deep):
        assert (await ask(deep, STATUS, Nothing())).pid == 4711
    with pytest.raises(NotRunning):
        await ask(deep, STATUS, Nothing())


@pytest.mark.parametrize("there", [True, False])
def test_no_relay_is_told_with_what_to_do(tmp_path, there):
    data_dir = tmp_path if there else tmp_path / "missing"
    client = Client(data_dir)
    assert not client.is_running()
    with pytest.raises(NotRunning, match="start it with `relay serve`"):
        client.call(STATUS, Nothing())


async def test_a_relay_that_goes_away_in_the_middle_is_told(data_dir):
    async def hang_up(reader, writer):
        await reader.readline()
        writer.close()

    server = await asyncio.start_unix_server(hang_up, data_dir / "control.sock")
    async with server:
        with pytest.raises(Refused, match="went away"):
            await ask(data_dir, STATUS, Nothing())


async def test_a_relay_that_does_not_answer_is_given_up_in_time(data_dir):
    silent = asyncio.Event()

    async def say_nothing(reader, writer):
        await silent.wait()
        writer.close()

    server = await asyncio.start_unix_server(say_nothing, data_dir / "control.sock")
    async with server:
        with pytest.raises(Refused, match="did not answer within"):
            await asyncio.to_thread(Client(data_dir, timeout=0.05).call, STATUS, Nothing())
        silent.set()


async def test_an_answer_of_another_version_is_told_as_such(data_dir):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"version":"9"}')
        writer.close()

    server = await asyncio.start_unix_server(answer, data_dir / "control.sock")
    async with server:
        with pytest.raises(Refused, match="same version"):
            await ask(data_dir, STATUS, Nothing())


async def test_stopping_without_starting_leaves_nothing_open(data_dir):
    server = AdminServer(None, listen_control(data_dir))
    await server.stop()
    assert list(data_dir.iterdir()) == []
