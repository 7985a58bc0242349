"""A broker of Kafka that speaks just enough of the protocol for a producer: one topic with two
partitions, in memory. Requests and answers are those of the client's own protocol classes."""

import asyncio
import io
import struct
from contextlib import asynccontextmanager

from aiokafka.protocol.admin import ApiVersionRequest_v0, ApiVersionResponse_v0
from aiokafka.protocol.metadata import MetadataRequest_v1, MetadataResponse_v1
from aiokafka.protocol.produce import ProduceRequest_v3, ProduceResponse_v3
from aiokafka.record.memory_records import MemoryRecords

TOPIC = "events"
_SPOKEN = {
    (request.API_KEY, request.API_VERSION): request
    for request in (
        ApiVersionRequest_v0,
        MetadataRequest_v1,
        ProduceRequest_v3,
    )
}


class Broker:
    """`records` are those that it took, as (partition, key, value, headers). `error` is the code
    that it answers a record with, 0 for none."""

    def __init__(self) -> None:
        self.port = 0
        self.error = 0
        self.acks: set[int] = set()
        self.records: list[tuple[int, bytes, bytes, dict[str, bytes]]] = []
        self.open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                octets = io.BytesIO(await reader.readexactly(size))
                key, version, number, name = struct.unpack(">hhih", octets.read(10))
                octets.read(name)
                request = _SPOKEN[key, version].decode(octets)
                answer = struct.pack(">i", number) + self._answer(request).encode()
                writer.write(struct.pack(">i", len(answer)) + answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.open.discard(writer)
            writer.close()

    def _answer(self, request):
        match request:
            case ApiVersionRequest_v0():
                return ApiVersionResponse_v0(0, [(key, v, v) for key, v in _SPOKEN])
            case MetadataRequest_v1():
                partitions = [(0, number, 1, [1], [1]) for number in range(2)]
                brokers = [(1, "127.0.0.1", self.port, None)]
                return MetadataResponse_v1(brokers, 1, [(0, TOPIC, False, partitions)])
            case ProduceRequest_v3():
                return ProduceResponse_v3([(TOPIC, self._take(request))], 0)
        raise AssertionError(request)

    def _take(self, request):
        self.acks.add(request.required_acks)
        answers = []
        for _, partitions in request.topics:
            for partition, octets in partitions:
                batches = MemoryRecords(octets)
                while not self.error and (batch := batches.next_batch()) is not None:
                    for one in batch:
                        record = (partition, one.key, one.value, dict(one.headers))
                        self.records.append(record)
                answers.append((partition, self.error, len(self.records), -1))
        return answers


@asynccontextmanager
async def broker():
    """On loopback."""
    made = Broker()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in list(made.open):
            writer.close()
        await server.wait_closed()
