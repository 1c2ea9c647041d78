"""Runs the interop cases with every foreign client against one server and prints the table.

In: the server's program, and the folder in which peers.sh has built the clients. Out: the table of
case x client on standard output, what a failing client said on standard error; exit code 1 when a
case failed."""

import argparse
import base64
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 60

PLAIN = [
    "empty_unary", "large_unary", "client_streaming", "server_streaming", "ping_pong",
    "empty_stream", "status_code_and_message", "special_status_message", "custom_metadata",
    "unimplemented_method", "unimplemented_service", "cancel_after_begin",
    "cancel_after_first_response", "timeout_on_sleeping_server"]
COMPRESSED = [
    "client_compressed_unary", "client_compressed_streaming", "server_compressed_unary",
    "server_compressed_streaming"]
CASES = PLAIN + COMPRESSED


class Failure(Exception):
    pass


def run(arguments, codes=(0,), variables=()):
    """Runs a client to its end; gives what it wrote to standard output and error."""
    try:
        done = subprocess.run(
            [str(argument) for argument in arguments], timeout=SECONDS, text=True,
            stdin=subprocess.DEVNULL, capture_output=True, errors="replace",
            env=os.environ | dict(variables))
    except subprocess.TimeoutExpired as error:
        raise Failure(f"not done after {SECONDS} s") from error
    if done.returncode not in codes:
        raise Failure(f"exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout, done.stderr


def expect(found, expected):
    if found != expected:
        raise Failure(f"{str(found)[:400]} instead of {str(expected)[:400]}")


class Suite:
    """A client that has the suite's options, and maybe another one for the cases with compression."""

    def __init__(self, name, program, cases, variables=(), compression=None):
        self.name, self.program, self.cases, self.variables = name, program, cases, variables
        self.compression = compression or program

    def run(self, case, host, port):
        program = self.compression if case in COMPRESSED else self.program
        run([*program, f"--server_host={host}", f"--server_port={port}",
             f"--test_case={case}"], variables=self.variables)


class BufCurl:
    """What can be said on the command line of buf, whose client is connect-go on Go's HTTP/2."""

    name = "buf curl"
    REQUESTS, RESPONSES = [27182, 8, 1828, 45904], [31415, 9, 2653, 58979]
    SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP \u263a and non-BMP \U0001f608\t\n"

    def __init__(self, program, folder):
        self.program, self.file = program, folder / "buf-request.json"
        self.cases = [
            case for case in CASES if not case.startswith(("cancel", "timeout", "client_comp"))]

    def run(self, case, host, port):
        self.url = f"http://{host}:{port}/grpc.testing."
        getattr(self, case)()

    def call(self, method, *messages, options=(), service="TestService", codes=(0,)):
        """What buf wrote: the responses, and errors or what -v tells."""
        self.file.write_text("\n".join(json.dumps(message) for message in messages))
        return run(
            [self.program, "curl", "--protocol", "grpc", "--http2-prior-knowledge", "--schema",
             HERE / "testing.proto", "-d", f"@{self.file}", *options,
             f"{self.url}{service}/{method}"], codes=codes)

    def responses(self, method, *messages):
        return documents(self.call(method, *messages)[0])

    def empty_unary(self):
        expect(self.responses("EmptyCall", {}), [{}])

    def large_unary(self):
        request = {"responseSize": 314159, "payload": zeros(271828)}
        expect(sizes(self.responses("UnaryCall", request)), [314159])

    def client_streaming(self):
        requests = ({"payload": zeros(size)} for size in self.REQUESTS)
        expect(
            self.responses("StreamingInputCall", *requests), [{"aggregatedPayloadSize": 74922}])

    def server_streaming(self):
        request = {"responseParameters": [{"size": size} for size in self.RESPONSES]}
        expect(sizes(self.responses("StreamingOutputCall", request)), self.RESPONSES)

    def ping_pong(self):
        """buf does not wait for an answer before it sends the next request."""
        requests = (
            {"responseParameters": [{"size": response}], "payload": zeros(request)}
            for request, response in zip(self.REQUESTS, self.RESPONSES))
        expect(sizes(self.responses("FullDuplexCall", *requests)), self.RESPONSES)

    def empty_stream(self):
        expect(self.responses("FullDuplexCall"), [])

    def status_code_and_message(self, message="test status message"):
        request = {"responseStatus": {"code": 2, "message": message}}
        for method in "UnaryCall", "FullDuplexCall":
            # buf's exit code is eight times gRPC's.
            _, error = self.call(method, request, codes=(16,))
            expect(json.loads(error), {"code": "unknown", "message": message})

    def special_status_message(self):
        self.status_code_and_message(self.SPECIAL)

    def custom_metadata(self):
        initial = "test_initial_metadata_value"
        for method, request in (
                ("UnaryCall", {"responseSize": 1}),
                ("FullDuplexCall", {"responseParameters": [{"size": 1}]})):
            _, told = self.call(method, request, options=[
                "-v", "-H", f"x-grpc-test-echo-initial: {initial}",
                "-H", "x-grpc-test-echo-trailing-bin: q6ur"])
            head, trailers = re.search(
                r"HTTP/2.0 200 OK(.*?)bytes data(.*)", told, re.DOTALL).groups()
            expect(re.findall("< .*Echo-Initial: (.*)", head), [initial])
            expect(re.findall("< .*Echo-Trailing-Bin: (.*)", trailers), ["q6ur"])

    def unimplemented_method(self, service="TestService"):
        _, error = self.call("UnimplementedCall", {}, service=service, codes=(96,))
        expect(json.loads(error)["code"], "unimplemented")

    def unimplemented_service(self):
        self.unimplemented_method("UnimplementedService")

    def server_compressed_unary(self):
        for compressed in True, False:
            self.compressed("UnaryCall", {
                "responseSize": 314159, "responseCompressed": {"value": compressed},
            }, [314159], compressed, 0 if compressed else 314159)

    def server_compressed_streaming(self):
        self.compressed("StreamingOutputCall", {"responseParameters": [
            {"size": 31415, "compressed": {"value": True}},
            {"size": 92653, "compressed": {"value": False}},
        ]}, [31415, 92653], True, 92653)

    def compressed(self, method, request, expected, names_gzip, plain):
        """`plain`: the bytes of what comes uncompressed; the rest is zeros, which vanish."""
        responses, told = self.call(method, request, options=["-v"])
        expect("< (#1) Grpc-Encoding: gzip" in told, names_gzip)
        expect(sizes(documents(responses)), expected)
        received = sum(int(size) for size in re.findall(r"\{ \(#1\) \[(\d+) bytes", told))
        expect(plain < received < plain + 5_000, True)


def zeros(size):
    return {"body": base64.b64encode(bytes(size)).decode()}


def sizes(responses):
    return [len(base64.b64decode(response["payload"]["body"])) for response in responses]


def documents(text):
    """The JSON documents that stand in a text one after another."""
    found, decoder, text = [], json.JSONDecoder(), text.lstrip()
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def smoke(host, port, folder):
    """nghttp's programs, which know no gRPC, on an empty call: a response, and many at once."""
    body = folder / "empty-request.bin"
    body.write_bytes(bytes(5))
    url = f"http://{host}:{port}/grpc.testing.TestService/EmptyCall"
    headers = ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", body, url]
    told, _ = run(["nghttp", "-v", "-H", ":method: POST", *headers])
    expect(re.findall("grpc-status: (.*)", told), ["0"])
    told, _ = run(["h2load", "-n", 2_000, "-c", 4, "-m", 50, *headers])
    succeeded = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", told).groups()
    expect(succeeded, ("2000", "0", "0"))
    return re.search("finished in (.*)", told).group(1)


def clients(folder, venv):
    python = folder / "source/grpc/src/python/grpcio_tests"
    return [
        Suite("C++", [folder / "cpp/client"], CASES),
        Suite("Python", [folder / "venv/bin/python", "-m", "tests.interop.client"], PLAIN,
              {"PYTHONPATH": f"{folder / 'python'}:{python}"}),
        Suite("Go", [folder / "go/client"], CASES, compression=[folder / "go/compression"]),
        BufCurl(venv / "bin/buf", folder),
        Suite("grpc-swift", [folder / "grpc-swift/debug/Client"],
              [*PLAIN, "client_compressed_unary"]),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="the program interopserver")
    parser.add_argument("folder", type=pathlib.Path, help="where peers.sh has built the clients")
    parser.add_argument("venv", type=pathlib.Path, help="where buf is")
    options = parser.parse_args()
    folder = options.folder.resolve()
    server = subprocess.Popen(
        [options.server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    host, port = server.stdout.readline().split()[-1].rsplit(":", 1)
    peers, failures = clients(folder, options.venv.resolve()), 0
    print("| case | " + " | ".join(peer.name for peer in peers) + " |")
    print("|---" * (len(peers) + 1) + "|")
    for case in CASES:
        cells = []
        for peer in peers:
            try:
                if case in peer.cases:
                    peer.run(case, host, port)
                cells.append("pass" if case in peer.cases else "-")
            except Failure as failure:
                cells.append("FAIL")
                failures += 1
                print(f"{peer.name}, {case}: {failure}", file=sys.stderr)
        print(f"| {case} | " + " | ".join(cells) + " |", flush=True)
    print(f"\nh2load: 2,000 calls, 4 connections, 50 at once each: {smoke(host, port, folder)}")
    server.stdin.close()
    expect(server.wait(timeout=20), 0)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
