"""A server under test, and calls of it that keep everything that came back."""

import dataclasses
import itertools
import os
import pathlib
import queue
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time

# This process starts others beside a live channel, and calls nothing of the library in them.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

import grpc  # noqa: E402
import psycopg  # noqa: E402

from stubs import REPOSITORY, pb, rpc  # noqa: E402

CONTACTSD = os.environ.get("CONTACTSD", str(REPOSITORY / ".build" / "debug" / "contactsd"))

CREATED = pb.UPSERT_STATUS_CREATED
UPDATED = pb.UPSERT_STATUS_UPDATED
UNCHANGED = pb.UPSERT_STATUS_UNCHANGED
FAILED = pb.UPSERT_STATUS_FAILED


def wait_until(condition, seconds=20.0, what="the condition"):
    """Returns the condition's first true value; fails when it stays false."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what} did not come true within {seconds} s"
        time.sleep(0.02)


class Server:
    """One `contactsd serve` on a free port, with its own PostgreSQL unless it is given one."""

    def __init__(self, data_dir=None, database_url=None, lanes=2, arguments=(), up="ready",
                 variables=(), wrapper=()):
        """`up`: a word of the log line that tells the address. `variables`: of the environment.
        `wrapper`: a program that becomes the server, and its arguments."""
        self.owns_directory = data_dir is None and database_url is None
        if self.owns_directory:
            data_dir = new_directory()
        self.data_dir = data_dir
        self.database_url = database_url
        self.log = []
        place = ["--database-url", database_url] if database_url else ["--data-dir", data_dir]
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PG", "CONTACTS_", "DATABASE_URL"))
        } | dict(variables)
        self._up = up
        self.process = subprocess.Popen(
            [*wrapper, CONTACTSD, "serve", "--listen", "127.0.0.1:0", "--lanes", str(lanes), *place,
             *arguments],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, errors="replace",
            env=environment)
        self.pid = self.process.pid
        self._ready = queue.Queue()
        threading.Thread(target=self._read_log, daemon=True).start()
        try:
            address = self._ready.get(timeout=60)
        except queue.Empty:
            address = None
        if address is None:
            self.process.kill()
            raise AssertionError("the server did not become ready:\n" + "".join(self.log))
        self.address = address
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        self.channel = grpc.insecure_channel(address)
        self.stub = rpc.ContactServiceStub(self.channel)

    def _read_log(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(rf"listen=(\S+:\d+).*\b{self._up}\b", line)
            if found:
                self._ready.put(found.group(1))
        self._ready.put(None)

    def conninfo(self):
        if self.database_url:
            return self.database_url
        directory = pathlib.Path(self.data_dir) / "s"
        socket = next(directory.glob(".s.PGSQL.*[0-9]"))
        port = socket.name.rsplit(".", 1)[1]
        return f"host={directory} port={port} user=postgres dbname=contacts"

    def connect(self, **settings):
        return psycopg.connect(self.conninfo(), autocommit=True, **settings)

    def query(self, sql, *parameters):
        with self.connect() as connection:
            return connection.execute(sql, parameters or None).fetchall()

    def rows(self, workspace="default", columns="id::text, email"):
        return self.query(
            f"SELECT {columns} FROM contacts WHERE workspace_id ="
            " (SELECT id FROM workspaces WHERE name = %s)", workspace)

    _numbers = itertools.count(1)

    def create_workspace(self, unique="email", name=None):
        name = name or f"w{next(self._numbers)}-{os.getpid()}"
        place = (["--database-url", self.database_url] if self.database_url
                 else ["--data-dir", self.data_dir])
        done = run([CONTACTSD, "workspace", "create", name, "--unique", unique, *place])
        assert done.returncode == 0, done.stderr
        return name

    def memory(self, line="VmHWM"):
        """A line of /proc/PID/status, in MiB."""
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{line}:\s+(\d+) kB", text, re.M).group(1)) / 1024

    def reset_peak(self):
        """VmHWM begins anew (proc(5), clear_refs)."""
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def postmaster(self):
        """The process id of the private PostgreSQL."""
        found = next(pathlib.Path(self.data_dir).rglob("postmaster.pid"))
        return int(found.read_text().split()[0])

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=60):
        return self.process.wait(timeout=seconds)

    def stop(self):
        """Stops in order; returns the exit code."""
        self.channel.close()
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("no exit within 60 s of SIGTERM:\n" + "".join(self.log[-20:]))

    def close(self):
        """For the end of a fixture: the exit code must be 0, the directory goes away."""
        try:
            code = self.stop()
            assert code == 0, f"exit code {code}:\n" + "".join(self.log[-20:])
        finally:
            if self.owns_directory:
                shutil.rmtree(self.data_dir, ignore_errors=True)


def run(command):
    """Runs a program to its end."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def new_directory():
    """A directory that the user `postgres` can reach."""
    directory = tempfile.mkdtemp(prefix="contacts-", dir="/tmp")
    os.chmod(directory, 0o755)
    return directory


def exists(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@dataclasses.dataclass
class Outcome:
    """All that a BulkUpsert call answered, its shape checked."""

    code: grpc.StatusCode = None
    details: str = ""
    started: object = None
    summary: object = None
    results: list = dataclasses.field(default_factory=list)
    marks: list = dataclasses.field(default_factory=list)
    trailers: dict = dataclasses.field(default_factory=dict)

    def take(self, response):
        kind = response.WhichOneof("response")
        assert self.summary is None, f"{kind} came after the summary"
        if kind == "started":
            assert self.started is None, "started came twice"
            self.started = response.started
            return
        assert self.started is not None, f"{kind} came before started"
        if kind == "summary":
            self.summary = response.summary
            return
        assert kind == "results", f"a response without content: {response}"
        self.results.extend(response.results.results)
        self.marks.append(response.results.committed_through)
        if self.results and self.started.options.results == pb.RESULT_MODE_ALL:
            assert self.marks[-1] == self.results[-1].sequence

    @property
    def statuses(self):
        return [result.status for result in self.results]

    @property
    def ids(self):
        return [result.id for result in self.results]

    @property
    def reasons(self):
        return {r.sequence: r.error.reason for r in self.results if r.status == FAILED}

    def check_all(self, count):
        """Exactly one result for each of `count` contacts, in order; a summary that agrees."""
        assert [r.sequence for r in self.results] == list(range(1, count + 1))
        assert self.marks == sorted(self.marks)
        for result in self.results:
            check_result(result)
        check_summary(self.summary, self.results)
        assert self.summary.committed_through == count
        return self

    def check_ok(self, count):
        assert self.code == grpc.StatusCode.OK, (self.code, self.details)
        return self.check_all(count)


def check_result(result):
    if result.status == FAILED:
        assert result.error.reason and result.error.message, result
        assert result.id == "", result
    else:
        assert result.status in (CREATED, UPDATED, UNCHANGED), result
        assert not result.HasField("error"), result
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", result.id), result


def check_summary(summary, results):
    assert summary is not None, "no summary came"
    statuses = [result.status for result in results]
    reasons = {}
    for result in results:
        if result.status == FAILED:
            reasons[result.error.reason] = reasons.get(result.error.reason, 0) + 1
    assert summary.total == len(results)
    assert summary.created == statuses.count(CREATED)
    assert summary.updated == statuses.count(UPDATED)
    assert summary.unchanged == statuses.count(UNCHANGED)
    assert summary.replayed == 0
    assert summary.failed == statuses.count(FAILED)
    assert dict(summary.failed_by_reason) == reasons


def metadata(workspace):
    return [("contacts-workspace", workspace)] if workspace else []


def bulk(stub, messages, workspace=None, timeout=90, seen=None):
    """Streams the messages and reads to the end, whatever the status. `seen` is called with the
    outcome so far after each response."""
    outcome = Outcome()
    call = stub.BulkUpsert(iter(messages), metadata=metadata(workspace), timeout=timeout)
    try:
        for response in call:
            outcome.take(response)
            if seen:
                seen(outcome)
    except grpc.RpcError:
        pass
    outcome.code, outcome.details = call.code(), call.details()
    outcome.trailers = dict(call.trailing_metadata() or ())
    return outcome


def request(contacts=(), first_sequence=0, **options):
    message = pb.BulkUpsertRequest(contacts=contacts, first_sequence=first_sequence)
    if options:
        message.options.CopyFrom(pb.UpsertOptions(**options))
    return message


def upsert(stub, contacts, workspace=None, timeout=60, **options):
    """UpsertContacts; raises grpc.RpcError."""
    message = pb.UpsertContactsRequest(contacts=contacts)
    if options:
        message.options.CopyFrom(pb.UpsertOptions(**options))
    return stub.UpsertContacts(message, metadata=metadata(workspace), timeout=timeout)


def get(stub, *keys, workspace=None):
    """GetContacts by keys such as {"email": "a@b.example"}; returns the entries."""
    message = pb.GetContactsRequest(keys=[pb.ContactKey(**key) for key in keys])
    entries = stub.GetContacts(message, metadata=metadata(workspace), timeout=60).entries
    assert len(entries) == len(keys)
    return entries


def field(name, value=None, **kinds):
    """A custom field; without a kind the value's Python type names it."""
    if kinds:
        return pb.CustomField(name=name, **kinds)
    if value is None:
        return pb.CustomField(name=name, null_value=0)
    if isinstance(value, bool):
        return pb.CustomField(name=name, boolean_value=value)
    if isinstance(value, int):
        return pb.CustomField(name=name, integer_value=value)
    if isinstance(value, float):
        return pb.CustomField(name=name, number_value=value)
    return pb.CustomField(name=name, string_value=value)


class failing:
    """`with failing(grpc.StatusCode.X) as failure:` expects an RpcError of that status."""

    def __init__(self, code):
        self.expected = code

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        assert kind is not None, f"the call succeeded, not {self.expected}"
        if not issubclass(kind, grpc.RpcError):
            return False
        assert error.code() == self.expected, (error.code(), error.details())
        self.error = error
        return True


class LiveCall:
    """A BulkUpsert whose messages are sent one at a time by the test."""

    def __init__(self, stub, workspace=None, timeout=60):
        self._requests = queue.Queue()
        self.outcome = Outcome()
        self.call = stub.BulkUpsert(
            iter(self._requests.get, None), metadata=metadata(workspace), timeout=timeout)

    def send(self, message):
        self._requests.put(message)

    def all_taken(self):
        """Whether the library has begun to send each message."""
        return self._requests.empty()

    def half_close(self):
        self._requests.put(None)

    def read(self):
        """Reads one response."""
        self.outcome.take(next(self.call))
        return self.outcome

    def read_results(self, count):
        while len(self.outcome.results) < count:
            self.read()
        return self.outcome

    def finish(self):
        """Reads to the end."""
        try:
            for response in self.call:
                self.outcome.take(response)
        except grpc.RpcError:
            pass
        self._requests.put(None)
        self.outcome.code, self.outcome.details = self.call.code(), self.call.details()
        return self.outcome
