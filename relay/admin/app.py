"""The two HTTP applications of a running relay: metrics and health, and control.

`public_app` is for TCP: `/metrics`, `/healthz` and `/readyz`; it tells no secret, no address and
no message, and changes nothing. `control_app` is for the Unix socket, whose permissions are its
only guard: it serves every endpoint of `relay.admin.endpoints`.

A refused request is answered with a JSON object of `error` (a sentence) and `kind`; the kinds are
those of `relay.admin.control.Refused`. An unforeseen fault is logged here and answered 500.
"""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from functools import partial
from typing import Any, Protocol

import msgspec
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from relay.admin.control import Control, Health, RefusalKind, Refused
from relay.admin.endpoints import (
    EXPORT,
    LIVE_ENDPOINTS,
    STORE_ENDPOINTS,
    Endpoint,
    LiveEndpoint,
)
from relay.observe.logging import Logger
from relay.store.interface import StoreError
from relay.store.values import SuppressionEntry

MAX_REQUEST = 4_000_000
"""Octets of one control request: a full batch of suppression entries with their evidence."""

_MOST = 2**62  # of a number in a question: the store and the links take no larger ones
_LONGEST = 10_000  # characters of a text in a question

_STATUS: dict[RefusalKind, int] = {
    "invalid": 400,
    "not_found": 404,
    "conflict": 409,
    "unavailable": 503,
    "internal": 500,
}
_GZIP_LEVEL = 1
_EXPORT_CHUNK = 64 * 1024

Handler = Callable[[Request], Awaitable[Response]]


class Collector(Protocol):
    """What the encoders need of a registry."""

    def collect(self) -> Iterable[Metric]: ...


Gather = Callable[[], Awaitable[Collector]]


def public_app(control: Control, gather: Gather, log: Logger) -> Starlette:
    """Metrics and health, for the address of `metrics.address`. `gather` gives all metrics."""
    # A thread of its own: rendering is pure Python, so two would only take turns, and it must not
    # wait for what else uses the loop's threads. It ends with the application.
    rendering = ThreadPoolExecutor(1, thread_name_prefix="metrics")

    async def metrics(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        compressed = takes_gzip(request.headers.get("accept-encoding", ""))
        octets = await asyncio.get_running_loop().run_in_executor(
            rendering, _render, encode, await gather(), compressed
        )
        headers = {"Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}
        if compressed:
            headers["Content-Encoding"] = "gzip"
        return Response(octets, media_type=content_type, headers=headers)

    async def healthz(_: Request) -> Response:
        return _health(control.liveness())

    async def readyz(_: Request) -> Response:
        return _health(control.readiness())

    return _application(
        [
            Route("/metrics", _guarded(metrics, log), methods=["GET"]),
            Route("/healthz", _guarded(healthz, log), methods=["GET"]),
            Route("/readyz", _guarded(readyz, log), methods=["GET"]),
        ]
    )


def control_app(control: Control, log: Logger) -> Starlette:
    """Every endpoint, for the control socket."""

    async def export(_: Request) -> Response:
        lines = _json_lines(control.operations.suppressions.all())
        # A store that fails is answered 503, not cut in the middle.
        first = await control.while_reachable(lambda: anext(lines, b""))
        return StreamingResponse(_after(first, lines), media_type="application/x-ndjson")

    return _application(
        [
            *(
                Route(e.path, _guarded(_on_store(e, control), log), methods=["POST"])
                for e in STORE_ENDPOINTS
            ),
            *(
                Route(e.path, _guarded(_on_relay(e, control), log), methods=["POST"])
                for e in LIVE_ENDPOINTS
            ),
            Route(EXPORT, _guarded(export, log), methods=["GET"]),
        ]
    )


def _application(routes: list[Route]) -> Starlette:
    return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})


async def _http_error(_: Request, error: Exception) -> Response:
    """What Starlette itself refuses (no such path, wrong method), in our form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "internal error"
    kind: RefusalKind = "not_found" if status == 404 else "invalid"
    return _refusal(detail, kind, status)


def _on_store(endpoint: Endpoint[Any, Any], control: Control) -> Handler:
    async def handle(request: Request) -> Response:
        question = _decode(await _body(request), endpoint.question)
        asked = partial(endpoint.call, control.operations, question)
        return _json(await control.while_reachable(asked))

    return handle


def _on_relay(endpoint: LiveEndpoint[Any, Any], control: Control) -> Handler:
    async def handle(request: Request) -> Response:
        question = _decode(await _body(request), endpoint.question)
        asked = partial(endpoint.call, control, question)
        return _json(await (control.while_reachable(asked) if endpoint.asks_store else asked()))

    return handle


def _guarded(handler: Handler, log: Logger) -> Handler:
    """Answer every failure in our form. The root of a request: what is unforeseen is logged."""

    async def handle(request: Request) -> Response:
        try:
            return await handler(request)
        except HTTPException:
            raise
        except Refused as refused:
            return _refusal(str(refused), refused.kind)
        except StoreError as error:
            log.warning("the store refused an operator's request", error=str(error))
            return _refusal(f"the store cannot do this now: {error}", "unavailable")
        except Exception:
            log.exception("an operator's request failed", path=request.url.path)
            return _refusal("the relay failed to answer; its log says why", "internal")

    return handle


async def _body(request: Request) -> bytes:
    """The request's body, at most `MAX_REQUEST` octets of it."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > MAX_REQUEST:
            raise Refused(f"the request has more than {MAX_REQUEST} octets; send it in parts")
        chunks.append(chunk)
    return b"".join(chunks)


def _decode(body: bytes, question: type[Any]) -> Any:
    try:
        decoded = msgspec.json.decode(body or b"{}", type=question)
    except msgspec.MsgspecError as error:
        # The error names a field and its expected type, never the value.
        raise Refused(f"the request is not understood: {error}") from error
    _check_bounds(decoded)
    return decoded


def _check_bounds(question: Any) -> None:
    """The fields of a question, and of questions in it; lists have bounds of their own."""
    for field in fields(question):
        value = getattr(question, field.name)
        if is_dataclass(value):
            _check_bounds(value)
        elif isinstance(value, int) and abs(value) > _MOST:
            raise Refused(f"the request is not understood: {field.name} is too large a number")
        elif isinstance(value, str) and len(value) > _LONGEST:
            raise Refused(
                f"the request is not understood: {field.name} has more than {_LONGEST} characters"
            )


def _render(encode: Callable[[Collector], bytes], registry: Collector, compressed: bool) -> bytes:
    text = encode(registry)
    return gzip.compress(text, _GZIP_LEVEL) if compressed else text


def takes_gzip(accept_encoding: str) -> bool:
    """Whether `gzip` is among the codings and not excluded by `q=0` (RFC 9110 §12.5.3)."""
    for coding in accept_encoding.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").removeprefix("q=").strip("0.") != "" or not weight
    return False


async def _json_lines(entries: AsyncIterator[SuppressionEntry]) -> AsyncIterator[bytes]:
    encoder = msgspec.json.Encoder()
    lines = bytearray()
    async for entry in entries:
        lines += encoder.encode(entry)
        lines += b"\n"
        if len(lines) >= _EXPORT_CHUNK:
            yield bytes(lines)
            lines.clear()
    if lines:
        yield bytes(lines)


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _health(health: Health) -> Response:
    return JSONResponse(
        {"status": "ok" if health.ok else "failing", "reasons": list(health.reasons)},
        status_code=200 if health.ok else 503,
        headers={"Cache-Control": "no-store"},
    )


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _refusal(message: str, kind: RefusalKind, status: int | None = None) -> Response:
    return JSONResponse({"error": message, "kind": kind}, status_code=status or _STATUS[kind])
