"""Requests that are not gRPC get the answers of HTTP (RFC 9110 sections 9.3.2, 15.5.5, 15.5.6,
15.5.16), and gRPC requests those of gRPC."""

import pytest

from harness import run
from wire import Connection, envelope

UNIMPLEMENTED = 12
KNOWN = ["/contacts.v1.ContactService/BulkUpsert", "/contacts.v1.ContactService/GetContacts",
         "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/List",
         "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
         "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
UNKNOWN = ["/", "/favicon.ico", "/contacts.v1.ContactService", "/contacts.v1.ContactService/",
           "/contacts.v1.ContactService/NoSuch", "/contacts.v1.ContactService/GetContacts?x=1"]
VERBS = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "NOVERB"]


@pytest.fixture
def wire(server):
    with Connection(server) as connection:
        yield connection
        assert connection.call("GetContacts", envelope(b"")).status == 0


def check(answer, status, verb="POST"):
    assert answer.headers[":status"] == status, answer
    assert "grpc-status" not in {**answer.headers, **answer.trailers}
    assert answer.headers["content-type"] == "text/plain"
    assert answer.ended
    length = int(answer.headers["content-length"])
    if verb == "HEAD":
        assert not answer.body
    else:
        assert len(answer.body) == length > 0
        assert answer.body.decode("ascii").startswith(f"{status}: ")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("path", KNOWN)
def test_an_rpc_is_called_by_post(wire, path, verb):
    for content_type in (None, "application/grpc"):
        answer = wire.call("", path=path, verb=verb, content_type=content_type, te=None)
        check(answer, "405", verb)
        assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize("path", KNOWN)
@pytest.mark.parametrize("content_type", [
    None, "application/json", "application/grpc-web+proto", "application/x-protobuf"])
def test_an_rpc_takes_grpc_alone(wire, path, content_type):
    answer = wire.call("", b"{}", path=path, content_type=content_type, te=None)
    check(answer, "415")
    assert answer.headers["accept"] == "application/grpc"


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("verb", ["GET", "HEAD", "POST", "OPTIONS"])
def test_elsewhere_is_nothing(wire, path, verb):
    check(wire.call("", path=path, verb=verb, content_type="text/html", te=None), "404", verb)


@pytest.mark.parametrize("path", UNKNOWN)
def test_a_grpc_call_of_an_unknown_method_is_unimplemented(wire, path):
    answer = wire.call("", envelope(b""), path=path)
    assert (answer.headers[":status"], answer.status) == ("200", UNIMPLEMENTED)


def test_a_body_that_nobody_wants_does_not_hold_the_connection_up(wire):
    """More than the connection's window, of several requests."""
    for _ in range(4):
        answer = wire.call("", b"x" * 1_000_000, path="/upload", content_type="text/plain", te=None)
        assert answer.headers[":status"] == "404"


@pytest.mark.parametrize("content_type,status", [
    ("Application/GRPC", "200"), ("application/grpc ; charset=utf-8", "200"),
    ("application/grpc;x=y", "200"), ("application/grpc x", "415"), ("application/grpcx", "415")])
def test_media_types_are_compared_as_http_has_it(wire, content_type, status):
    """RFC 9110 section 8.3.1."""
    answer = wire.call("GetContacts", envelope(b""), content_type=content_type)
    assert answer.headers[":status"] == status
    assert answer.status == (0 if status == "200" else None)


def test_headers_that_are_too_large_get_the_answer_of_who_asks(wire):
    many = [(f"x{number}", "y") for number in range(200)]
    check(wire.call("", path=KNOWN[1], verb="GET", te=None, headers=many), "431", "GET")
    assert wire.call("GetContacts", envelope(b""), headers=many).status == 8


@pytest.mark.parametrize("arguments", [[], ["-I"], ["-d", "{}"], ["--http2"], ["-X", "OPTIONS"]])
def test_http_1_is_told_that_it_is_none_here(server, arguments):
    # More than is read at once.
    cookie = ["-H", f"cookie: {'x' * 5000}"]
    done = run(["curl", "-sS", "-i", *cookie, *arguments, f"http://{server.address}{KNOWN[0]}"])
    assert done.stdout.startswith("HTTP/1.1 505 "), (done.stdout, done.stderr)


def test_curl_gets_its_answer(server):
    def curl(*arguments):
        done = run(["curl", "-sS", "--http2-prior-knowledge", *arguments])
        assert done.returncode == 0, done.stderr
        return done.stdout

    address = f"http://{server.address}"
    assert curl(f"{address}/").startswith("404: ")
    assert curl("-d", "{}", f"{address}{KNOWN[0]}").startswith("415: ")
    head = curl("-I", f"{address}{KNOWN[0]}")
    assert head.startswith("HTTP/2 405") and "allow: POST" in head
