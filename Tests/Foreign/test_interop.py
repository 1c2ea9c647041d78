"""gRPC's interop cases by their names, with grpcio, and by hand what grpcio does not show.

The suite's own programs run them too: `make interop`."""

import gzip
import queue

import grpc
import pytest

import wire
from harness import wait_until
from interop_server import InteropServer, pb, rpc

REQUEST_SIZES = [27182, 8, 1828, 45904]
RESPONSE_SIZES = [31415, 9, 2653, 58979]
SERVICE = "/grpc.testing.TestService/"
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"
METADATA = (
    ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
    ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"))


@pytest.fixture(scope="module")
def interop():
    server = InteropServer()
    yield server
    assert server.close() == 0


@pytest.fixture(scope="module")
def channel(interop):
    with grpc.insecure_channel(interop.address) as channel:
        yield channel


@pytest.fixture
def test_service(channel):
    return rpc.TestServiceStub(channel)


class Requests:
    """The requests of a stream, sent one by one and half-closed at the end of `with`."""

    def __init__(self):
        self._queue = queue.Queue()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._queue.put(None)

    def __iter__(self):
        return iter(self._queue.get, None)

    def send(self, request):
        self._queue.put(request)


def payload(size):
    return pb.Payload(body=bytes(size))


def output_request(response_size, request_size):
    return pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=response_size)],
        payload=payload(request_size))


def large_request(**fields):
    return pb.SimpleRequest(response_size=314159, payload=payload(271828), **fields)


def assert_large(response):
    assert response.payload.body == bytes(314159)


def failure(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_empty_unary(test_service):
    assert test_service.EmptyCall(pb.Empty(), timeout=20) == pb.Empty()


def test_large_unary(test_service):
    assert_large(test_service.UnaryCall(large_request(), timeout=20))


def test_client_streaming(test_service):
    requests = (pb.StreamingInputCallRequest(payload=payload(size)) for size in REQUEST_SIZES)
    assert test_service.StreamingInputCall(requests, timeout=20).aggregated_payload_size == 74922


def test_server_streaming(test_service):
    request = pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=size) for size in RESPONSE_SIZES])
    responses = test_service.StreamingOutputCall(request, timeout=20)
    assert [len(response.payload.body) for response in responses] == RESPONSE_SIZES


def test_ping_pong(test_service):
    with Requests() as requests:
        responses = test_service.FullDuplexCall(iter(requests), timeout=20)
        for response_size, request_size in zip(RESPONSE_SIZES, REQUEST_SIZES):
            requests.send(output_request(response_size, request_size))
            assert next(responses).payload.body == bytes(response_size)
    assert list(responses) == []
    assert responses.code() is grpc.StatusCode.OK


def test_half_duplex(test_service):
    """No case of the suite's list, but a method of its service."""
    requests = (output_request(*sizes) for sizes in zip(RESPONSE_SIZES, REQUEST_SIZES))
    responses = test_service.HalfDuplexCall(requests, timeout=20)
    assert [len(response.payload.body) for response in responses] == RESPONSE_SIZES


def test_empty_stream(test_service):
    responses = test_service.FullDuplexCall(iter(()), timeout=20)
    assert list(responses) == []
    assert responses.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("message", ["test status message", SPECIAL], ids=["plain", "special"])
def test_status_code_and_message(test_service, message):
    """Also special_status_message."""
    status = pb.EchoStatus(code=2, message=message)
    expected = (grpc.StatusCode.UNKNOWN, message)
    unary = pb.SimpleRequest(response_status=status)
    assert failure(lambda: test_service.UnaryCall(unary, timeout=20)) == expected
    with Requests() as requests:
        responses = test_service.FullDuplexCall(iter(requests), timeout=20)
        requests.send(pb.StreamingOutputCallRequest(response_status=status))
        assert failure(lambda: next(responses)) == expected


def assert_metadata(call):
    assert METADATA[0] in [tuple(item) for item in call.initial_metadata()]
    assert METADATA[1] in [tuple(item) for item in call.trailing_metadata()]


def test_custom_metadata(test_service):
    response, call = test_service.UnaryCall.with_call(
        large_request(), metadata=METADATA, timeout=20)
    assert_large(response)
    assert_metadata(call)
    with Requests() as requests:
        responses = test_service.FullDuplexCall(iter(requests), metadata=METADATA, timeout=20)
        requests.send(output_request(314159, 271828))
        assert_large(next(responses))
    assert list(responses) == []
    assert_metadata(responses)


def test_unimplemented_method(test_service):
    code, _ = failure(lambda: test_service.UnimplementedCall(pb.Empty(), timeout=20))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_unimplemented_service(channel):
    stub = rpc.UnimplementedServiceStub(channel)
    code, _ = failure(lambda: stub.UnimplementedCall(pb.Empty(), timeout=20))
    assert code is grpc.StatusCode.UNIMPLEMENTED


def test_cancel_after_begin(test_service):
    with Requests() as requests:
        call = test_service.StreamingInputCall.future(iter(requests), timeout=20)
        call.cancel()
        wait_until(call.done)
        assert call.code() is grpc.StatusCode.CANCELLED


def test_cancel_after_first_response(test_service):
    with Requests() as requests:
        responses = test_service.FullDuplexCall(iter(requests), timeout=20)
        requests.send(output_request(RESPONSE_SIZES[0], REQUEST_SIZES[0]))
        next(responses)
        responses.cancel()
        assert failure(lambda: next(responses))[0] is grpc.StatusCode.CANCELLED


def test_timeout_on_sleeping_server(test_service):
    with Requests() as requests:
        responses = test_service.FullDuplexCall(iter(requests), timeout=0.001)
        requests.send(pb.StreamingOutputCallRequest(payload=payload(27182)))
        assert failure(lambda: next(responses))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_intervals_are_kept(test_service):
    """The server sleeps as the client asks: a deadline ends it between two responses."""
    request = pb.StreamingOutputCallRequest(response_parameters=[
        pb.ResponseParameters(size=1), pb.ResponseParameters(size=1, interval_us=60_000_000)])
    responses = test_service.StreamingOutputCall(request, timeout=2)
    next(responses)
    assert failure(lambda: next(responses))[0] is grpc.StatusCode.DEADLINE_EXCEEDED


def test_client_compressed_unary(test_service):
    """The probe, which lies about itself, then a compressed request and a plain one."""
    expecting = large_request(expect_compressed=pb.BoolValue(value=True))
    code, _ = failure(lambda: test_service.UnaryCall(expecting, timeout=20))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert_large(test_service.UnaryCall(
        expecting, compression=grpc.Compression.Gzip, timeout=20))
    assert_large(test_service.UnaryCall(
        large_request(expect_compressed=pb.BoolValue(value=False)), timeout=20))


def input_request(size, is_compressed, compresses):
    message = pb.StreamingInputCallRequest(
        payload=payload(size), expect_compressed=pb.BoolValue(value=is_compressed)
    ).SerializeToString()
    return wire.envelope(gzip.compress(message), compressed=1) if compresses else (
        wire.envelope(message))


def test_client_compressed_streaming(interop):
    """grpcio compresses all messages of a call or none, so this is sent by hand."""
    gzipped = [("grpc-encoding", "gzip")]
    with wire.Connection(interop) as connection:
        probe = connection.call(
            None, input_request(27182, True, False), path=SERVICE + "StreamingInputCall",
            headers=gzipped)
        assert probe.status == grpc.StatusCode.INVALID_ARGUMENT.value[0]
        answer = connection.call(
            None, input_request(27182, True, True) + input_request(45904, False, False),
            path=SERVICE + "StreamingInputCall", headers=gzipped)
        assert answer.status == 0
        response, = answer.messages(pb.StreamingInputCallResponse)
        assert response.aggregated_payload_size == 73086


def flags_and_messages(answer, kind):
    """Each message's flag of compression, and the message; grpcio shows no flag."""
    found, rest = [], bytes(answer.body)
    while rest:
        flag, length = rest[0], int.from_bytes(rest[1:5], "big")
        body = rest[5:5 + length]
        found.append((flag, kind.FromString(gzip.decompress(body) if flag else body)))
        rest = rest[5 + length:]
    return found


ACCEPTS = [("grpc-accept-encoding", "identity,deflate,gzip")]


@pytest.mark.parametrize("compressed", [True, False])
def test_server_compressed_unary(interop, test_service, compressed):
    request = large_request(response_compressed=pb.BoolValue(value=compressed))
    assert_large(test_service.UnaryCall(request, timeout=20))
    with wire.Connection(interop) as connection:
        answer = connection.call(
            None, wire.envelope(request), path=SERVICE + "UnaryCall", headers=ACCEPTS)
        (flag, response), = flags_and_messages(answer, pb.SimpleResponse)
        assert flag == compressed
        assert_large(response)
        assert answer.headers.get("grpc-encoding") == ("gzip" if compressed else None)


def test_server_compressed_streaming(interop, test_service):
    request = pb.StreamingOutputCallRequest(response_parameters=[
        pb.ResponseParameters(size=31415, compressed=pb.BoolValue(value=True)),
        pb.ResponseParameters(size=92653, compressed=pb.BoolValue(value=False))])
    responses = test_service.StreamingOutputCall(request, timeout=20)
    assert [len(response.payload.body) for response in responses] == [31415, 92653]
    with wire.Connection(interop) as connection:
        answer = connection.call(
            None, wire.envelope(request), path=SERVICE + "StreamingOutputCall", headers=ACCEPTS)
        assert [(flag, len(response.payload.body)) for flag, response in flags_and_messages(
            answer, pb.StreamingOutputCallResponse)] == [(1, 31415), (0, 92653)]


def test_whoever_accepts_no_gzip_gets_none(interop):
    request = large_request(response_compressed=pb.BoolValue(value=True))
    with wire.Connection(interop) as connection:
        answer = connection.call(None, wire.envelope(request), path=SERVICE + "UnaryCall")
        (flag, response), = flags_and_messages(answer, pb.SimpleResponse)
        assert flag == 0
        assert_large(response)
