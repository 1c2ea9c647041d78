"""`contacts export` and `contacts health` against a server of stock gRPC that answers as told.

CONTACTS names the binary, EXPORT_COUNT the contacts of the large export (200,000 unless set).
"""

import concurrent.futures
import csv
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import harness  # sets up gRPC for a process that starts others

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from stubs import REPOSITORY, pb

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")
COUNT = int(os.environ.get("EXPORT_COUNT", "200000"))
CLIENT_MIB = 100
BATCH = 1000
HEADER = ["email", "phone", "external_id", "name", "first_name", "last_name", "fields"]


def record(number):
    contact = pb.Contact(
        id=f"0190163d-8694-739b-aea5-{number:012x}", email=f"u{number}@example.com",
        phone=f"+1617{number:07d}", external_id=f"C-{number}", name=f'Zoë "Z" Ωmega, {number}',
        first_name="Zoë", last_name="Ωmega", list_ids=[1, 2],
        fields=[
            pb.CustomField(name="plan", string_value="pro"),
            pb.CustomField(name="age", integer_value=number),
            pb.CustomField(name="score", number_value=number / 8),
            pb.CustomField(name="active", boolean_value=number % 2 == 0),
        ])
    contact.fields.add(name="joined").timestamp_value.seconds = 1_700_000_000 + number
    return pb.ContactRecord(contact=contact)


class FakeServer:
    """Answers ExportContacts with `batches`, then with `code`; -1 batches go on for ever."""

    def __init__(self):
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
        self.batch = pb.ExportContactsResponse(
            records=[record(number) for number in range(BATCH)]).SerializeToString()
        self.batches, self.code = 1, None
        self.requests, self.ended = [], threading.Event()
        handler = grpc.unary_stream_rpc_method_handler(
            self.export, request_deserializer=pb.ExportContactsRequest.FromString,
            response_serializer=bytes)
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
            "contacts.v1.ContactService", {"ExportContacts": handler}),))
        self.health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self.health, self.server)
        self.address = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def export(self, request, context):
        metadata = dict(context.invocation_metadata())
        self.requests.append((request.list_id, metadata.get("contacts-workspace")))
        self.ended.clear()
        context.add_callback(self.ended.set)
        sent = 0
        while sent != self.batches and context.is_active():
            yield self.batch
            sent += 1
        if self.code:
            context.abort(self.code, "as told")


@pytest.fixture
def fake():
    fake = FakeServer()
    yield fake
    fake.server.stop(None)


def command(fake, *flags):
    return [CONTACTS, "export", "--server", fake.address, "--progress", "none", *flags]


def export(fake, *flags):
    return subprocess.run(command(fake, *flags), capture_output=True, timeout=120)


def test_csv_is_what_python_reads(fake):
    fake.batches = 3
    done = export(fake, "--list", "7", "--workspace", "w")
    assert done.returncode == 0, done.stderr
    assert fake.requests == [(7, "w")]
    rows = list(csv.reader(done.stdout.decode().splitlines()))
    assert rows[0] == HEADER
    assert len(rows) == 1 + 3 * BATCH
    assert rows[6][:6] == [
        "u5@example.com", "+16170000005", "C-5", 'Zoë "Z" Ωmega, 5', "Zoë", "Ωmega"]
    assert rows[6][6] == (
        '{"plan":"pro","age":5,"score":0.625,"active":false,'
        '"joined":{"timestamp":"2023-11-14T22:13:25Z"}}')
    assert re.search(rb"exported +3,000\n", done.stderr)


def test_ndjson_by_the_name_of_the_file(fake, tmp_path):
    path = tmp_path / "a.ndjson"
    assert export(fake, "-o", str(path), "--with-ids").returncode == 0
    lines = path.read_text().splitlines()
    assert len(lines) == BATCH
    assert json.loads(lines[5]) == {
        "id": "0190163d-8694-739b-aea5-000000000005", "email": "u5@example.com",
        "phone": "+16170000005", "external_id": "C-5", "name": 'Zoë "Z" Ωmega, 5',
        "first_name": "Zoë", "last_name": "Ωmega",
        "fields": {
            "plan": "pro", "age": 5, "score": 0.625, "active": False,
            "joined": {"timestamp": "2023-11-14T22:13:25Z"}}}
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_empty_export(fake):
    fake.batches = 0
    assert export(fake).stdout.decode() == ",".join(HEADER) + "\n"
    assert export(fake, "--format", "ndjson").stdout == b""


@pytest.mark.parametrize("code, exit_code", [("NOT_FOUND", 70), ("UNAVAILABLE", 69)])
def test_a_call_that_breaks_off_leaves_no_file(fake, tmp_path, code, exit_code):
    fake.code = grpc.StatusCode[code]
    path = tmp_path / "a.csv"
    path.write_text("old")
    done = export(fake, "-o", str(path))
    assert done.returncode == exit_code
    assert f"{code}: as told" in done.stderr.decode()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_no_server(fake, tmp_path):
    fake.server.stop(None).wait()
    assert export(fake, "-o", str(tmp_path / "a.csv")).returncode == 69
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away(fake):
    fake.batches = -1
    run = subprocess.Popen(command(fake), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    run.stdout.readline()
    run.stdout.close()
    assert run.wait(20) == 73
    assert b"cannot write standard output: Broken pipe" in run.stderr.read()
    assert fake.ended.wait(10)


def test_a_standard_output_that_is_closed(fake):
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *command(fake)], stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 73, done.stderr
    assert fake.requests == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk(fake):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command(fake), stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 73
    assert b"No space left" in done.stderr


@pytest.mark.parametrize("reads", [True, False], ids=["read", "nobody reads"])
def test_ctrl_c_to_a_pipe(fake, reads):
    fake.batches = -1
    run = subprocess.Popen(command(fake), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    run.stdout.read(1 << 20)
    if not reads:
        time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    if reads:
        run.stdout.read()
    assert run.wait(20) == 130
    run.stdout.close()
    assert fake.ended.wait(10)


def test_ctrl_c_leaves_no_file(fake, tmp_path):
    fake.batches = -1
    run = subprocess.Popen(
        command(fake, "-o", str(tmp_path / "a.csv")), stderr=subprocess.PIPE)
    harness.wait_until(
        lambda: any(path.stat().st_size for path in tmp_path.iterdir()), what="a file")
    run.send_signal(signal.SIGINT)
    assert run.wait(20) == 130
    assert list(tmp_path.iterdir()) == []


# Starts a program from a small process, so that the peak is the program's and not pytest's.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(f"{usage.ru_maxrss / 1024} {usage.ru_utime + usage.ru_stime}")
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


@pytest.mark.parametrize("slow", [False, True], ids=["file", "slow reader"])
def test_memory_does_not_grow(fake, tmp_path, slow, record_property):
    fake.batches = COUNT // BATCH if not slow else 100
    measured = tmp_path / "measured"
    flags = [] if slow else ["-o", str(tmp_path / "a.csv")]
    start = time.monotonic()
    run = subprocess.Popen(
        [sys.executable, "-c", MEASURE, str(measured), *command(fake, *flags)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if slow:
        time.sleep(2)
    size = len(run.stdout.read())
    assert run.wait(300) == 0, run.stderr.read()
    seconds = time.monotonic() - start
    peak, processor = map(float, measured.read_text().split())
    if not slow:
        size = pathlib.Path(tmp_path / "a.csv").stat().st_size
    contacts = fake.batches * BATCH
    print(f"{contacts} contacts, {size} bytes, {seconds:.1f} s, {processor:.1f} s of processor, "
          f"{peak:.0f} MiB")
    record_property("peak", peak)
    assert peak < CLIENT_MIB


def test_health(fake):
    def ask():
        done = subprocess.run(
            [CONTACTS, "health", "--server", fake.address], capture_output=True, text=True,
            timeout=60)
        return done.stdout, done.returncode

    fake.health.set("", health_pb2.HealthCheckResponse.SERVING)
    assert ask() == ("SERVING\n", 0)
    fake.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert ask() == ("NOT_SERVING\n", 1)
    fake.server.stop(None).wait()
    assert ask() == ("", 69)
