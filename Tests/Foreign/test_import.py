"""`contacts import` from end to end: what the file says is what PostgreSQL holds.

Each test imports into a workspace of its own on one server with a private PostgreSQL.
CONTACTSD and CONTACTS name the binaries, IMPORT_COUNT the rows (50,000 unless set).
"""

import csv
import itertools
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading

import psycopg
import pytest

import verify_import

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
CONTACTSD = os.environ.get("CONTACTSD") or str(REPOSITORY / ".build/debug/contactsd")
CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")
COUNT = int(os.environ.get("IMPORT_COUNT", "50000"))
SECONDS = 600 + COUNT // 500
SERVER_MIB, CLIENT_MIB = 150, 100

# Starts a program from a small process, so that the peak is the program's and not pytest's.
MEASURE = """
import os, sys
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    file.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status) % 256)
"""


class Server:
    """`contactsd serve` with a PostgreSQL of its own."""

    def __init__(self, directory):
        self.directory = directory
        self.log = []
        self.address = None
        self._ready = threading.Event()
        self._names = itertools.count(1)
        self.process = subprocess.Popen(
            [CONTACTSD, "serve", "--data-dir", directory, "--listen", "127.0.0.1:0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            if line.rstrip().endswith("] ready"):
                words = dict(word.split("=", 1) for word in line.split() if "=" in word)
                self.address = words["listen"]
                self._ready.set()
        self._ready.set()

    def wait(self):
        assert self._ready.wait(120), "the server is not ready after two minutes"
        assert self.address, "the server ended:\n" + "".join(self.log)
        self.conninfo = subprocess.run(
            [CONTACTSD, "conninfo", "--data-dir", self.directory], check=True, timeout=60,
            capture_output=True, text=True).stdout.strip()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(120)
        self._reader.join(60)
        return code

    def workspace(self):
        """A new workspace's name."""
        name = f"import-{next(self._names)}"
        subprocess.run(
            [CONTACTSD, "workspace", "create", name, "--data-dir", self.directory], check=True,
            timeout=60, capture_output=True)
        return name

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak(self):
        """The most memory that the process has had since `forget_peak`, in MiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024


class Import:
    """One run of `contacts import` and what it left."""

    def __init__(self, server, workspace, path, directory, *flags, stdin=None):
        self.rejects = directory / f"{workspace}.{len(list(directory.iterdir()))}.rejects"
        peak = directory / "peak"
        command = [
            CONTACTS, "import", str(path), "--server", server.address, "--workspace", workspace,
            "--rejects", str(self.rejects), "--json", "--progress", "none", *flags]
        run = subprocess.run(
            [sys.executable, "-c", MEASURE, str(peak), *command], stdin=stdin or subprocess.DEVNULL,
            capture_output=True, timeout=SECONDS)
        self.code = run.returncode
        self.errors = run.stderr.decode()
        self.summary = json.loads(run.stdout) if run.stdout else None
        self.peak = int(peak.read_text()) / 1024

    @property
    def reasons(self):
        return pathlib.Path(f"{self.rejects}.reasons.ndjson")


@pytest.fixture(scope="module")
def server():
    directory = tempfile.mkdtemp(prefix="contacts-import-", dir="/tmp")
    # Root's server runs PostgreSQL as another user, who has to reach the directory.
    os.chmod(directory, 0o755)
    server = Server(directory)
    try:
        server.wait()
        yield server
    finally:
        code = server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    assert code == 0, "the server's exit code after SIGTERM:\n" + "".join(server.log[-20:])


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Writes a file of made-up contacts, once for each set of flags."""
    directory = tmp_path_factory.mktemp("samples")
    made = {}

    def sample(*flags, count=COUNT):
        key = (count, *flags)
        if key not in made:
            end = "ndjson" if "ndjson" in flags else "csv"
            made[key] = directory / f"{len(made)}.{end}"
            with open(made[key], "wb") as stream:
                subprocess.run(
                    [CONTACTS, "sample", "--count", str(count), *flags], check=True, stdout=stream,
                    timeout=SECONDS)
        return made[key]

    return sample


@pytest.fixture
def workspace(server):
    return server.workspace()


@pytest.fixture
def run(server, workspace, tmp_path):
    def run(path, *flags, stdin=None):
        return Import(server, workspace, path, tmp_path, *flags, stdin=stdin)

    return run


@pytest.fixture
def check(server, workspace):
    """Holds an import against the file and the database, and gives the report."""

    def check(path, done, earlier=()):
        report = verify_import.verify(
            path, server.conninfo, done.rejects, workspace=workspace, summary=done.summary,
            earlier=earlier)
        assert report.mismatches == 0, report.text()
        return report

    return check


def counts(summary):
    return {
        word: summary[word] for word in ("read", "created", "updated", "unchanged", "failed")}


def contacts(*arguments, **options):
    return subprocess.run([CONTACTS, *arguments], capture_output=True, timeout=120, **options)


DIRTY = ("--repeats", "0.05", "--dirty", "0.01")
CLEAN = ("--dirty", "0")


# ---------------------------------------------------------------------------- a file, exactly


@pytest.mark.parametrize(
    "flags", [(), ("--bom", "--crlf"), ("--format", "ndjson")], ids=["csv", "bom-crlf", "ndjson"])
def test_every_record_is_in_the_database_or_among_the_rejects(flags, sample, run, check):
    path = sample(*DIRTY, *flags)
    done = run(path)
    assert done.code == 1, done.errors
    report = check(path, done)
    assert report.records == COUNT
    assert report.counts["updated"] > 0
    assert len(report.rejected) >= 6


@pytest.mark.parametrize("flags", [(), ("--format", "ndjson")], ids=["csv", "ndjson"])
def test_standard_input_is_imported_as_a_file_is(flags, sample, run, check):
    path = sample(*DIRTY, *flags)
    reader, writer = os.pipe()
    with open(path, "rb") as source, open(reader, "rb") as pipe:
        feeder = threading.Thread(
            target=lambda: shutil.copyfileobj(source, open(writer, "wb", closefd=True)))
        feeder.start()
        done = run("-", stdin=pipe)
        feeder.join(60)
    assert done.code == 1, done.errors
    assert check(path, done).records == COUNT


def test_several_streams_import_a_file_without_repeats_exactly(sample, run, server, workspace):
    path = sample("--dirty", "0.01")
    done = run(path, "--streams", "4")
    assert done.code == 1, done.errors
    # Each stream numbers its own contacts, and settles its rejects when it can.
    report = verify_import.verify(
        path, server.conninfo, done.rejects, workspace=workspace, summary=done.summary,
        in_order=False)
    assert report.mismatches == 0, report.text()


def test_several_streams_store_every_record(sample, run, server, workspace):
    path = sample(*CLEAN)
    done = run(path, "--streams", "4", "--chunk", "97")
    assert done.code == 0, done.errors
    report = verify_import.verify(
        path, server.conninfo, workspace=workspace, summary=done.summary)
    assert report.mismatches == 0, report.text()


def test_a_clean_file_ends_in_0_and_leaves_no_rejects(sample, run, check):
    path = sample(*CLEAN)
    done = run(path)
    assert done.code == 0, done.errors
    assert check(path, done).counts == {"created": COUNT, "updated": 0, "unchanged": 0}
    assert not done.rejects.exists()
    assert not done.reasons.exists()
    assert done.summary["rejects"] is None


VALUES = """\
email,phone,external_id,first_name,last_name,name,age:integer,score:number,subscribed:boolean,joined:timestamp,note
one@example.com,+1 (617) 555-1212,X-1,Ann,Lee,Ann Lee,5,5,yes,2024-02-29,5
two@example.com,0049.151.12345678,,,,,-9223372036854775808,-0.0,NO,2024-01-31T09:30:00+05:30,true
three@example.com,33612345678,,,,,9223372036854775807,1e300,1,2024-01-31 09:30:00.123456Z,null
four@example.com,,,,,,0,0.1,0,1969-12-31T23:59:59.5Z,"{""a"":1}"
five@example.com,,,,,,,2.5e-7,true,9999-12-31T23:59:59.999999Z,\\u0041
\u2003\u03a3\u0399\u03a3@EXAMPLE.COM\u00a0,,,,,,,123456789.123456789,false,0001-01-01T00:00:00Z,"a
b"
Jose\u0301@example.com,,,  spaces  ,\t,,,1e22,true,2024-06-01T00:00:00-11:00," "
six@example.com,,,Jose\u0301,\U0001f469\u200d\U0001f469\u200d\U0001f467,\u202eabc,,9007199254740993,true,,\u2028
"""


def test_values_at_the_edges_of_their_types_are_stored_exactly(run, check, tmp_path):
    path = tmp_path / "values.csv"
    path.write_text(VALUES, encoding="utf-8", newline="")
    done = run(path)
    assert done.code == 0, done.errors + (done.reasons.read_text() if done.reasons.exists() else "")
    assert check(path, done).rows == 8


def test_reading_back_gives_the_kind_that_was_written(run, server, workspace, tmp_path):
    path = tmp_path / "values.csv"
    path.write_text(VALUES, encoding="utf-8", newline="")
    assert run(path).code == 0
    found = contacts(
        "get", "--json", "--server", server.address, "--workspace", workspace, "one@example.com")
    fields = json.loads(found.stdout)["fields"]
    assert type(fields["age"]) is int and fields["age"] == 5
    assert type(fields["score"]) is float and fields["score"] == 5.0
    assert fields["subscribed"] is True
    assert fields["joined"] == {"timestamp": "2024-02-29T00:00:00Z"}
    assert fields["note"] == "5"


def test_a_nul_byte_is_refused_under_the_name_of_its_column(run, tmp_path):
    path = tmp_path / "nul.csv"
    path.write_bytes(b"email,name\none@example.com,Anna\0Maria\n")
    done = run(path)
    assert done.code == 1
    reason = json.loads(done.reasons.read_text())
    assert reason["reason"] == "INVALID_UTF8"
    assert reason["field"] == "name"


def test_a_last_line_without_an_end_is_a_record(run, check, tmp_path):
    path = tmp_path / "open.csv"
    path.write_bytes(b"email,name\none@example.com,Ann\n\ntwo@example.com,Bob")
    done = run(path)
    assert done.code == 0
    assert check(path, done).rows == 2


# ---------------------------------------------------------------------------- once more


@pytest.mark.parametrize("flags", [(), ("--format", "ndjson")], ids=["csv", "ndjson"])
def test_the_second_run_of_a_file_without_repeats_changes_nothing(
        flags, sample, run, check, server, workspace):
    path = sample("--dirty", "0.01", *flags)
    first = run(path)
    before = rows(server, workspace)
    second = run(path)
    assert second.code == 1
    assert counts(second.summary) == {
        "read": COUNT, "created": 0, "updated": 0, "unchanged": first.summary["created"],
        "failed": first.summary["failed"]}
    check(path, second, earlier=[(path, first.reasons)])
    # Nothing was written: not the times either.
    assert rows(server, workspace) == before


def test_the_second_run_of_a_file_with_repeats_ends_where_the_first_did(sample, run, check):
    # An earlier record takes back what a later one of the same contact had set, and the later one
    # sets it again: the check replays both runs and knows how many those are.
    path = sample(*DIRTY)
    first = run(path)
    second = run(path)
    report = check(path, second, earlier=[(path, first.reasons)])
    assert report.counts["created"] == 0
    assert report.counts["updated"] > 0
    assert report.counts["unchanged"] > COUNT * 0.8


# ---------------------------------------------------------------------------- the rejects


@pytest.mark.parametrize(
    "flags", [(), ("--bom", "--crlf"), ("--format", "ndjson")], ids=["csv", "bom-crlf", "ndjson"])
def test_the_rejects_imported_again_are_the_same_rejects(flags, sample, run, tmp_path):
    first = run(sample(*DIRTY, *flags))
    name = "again.ndjson" if "ndjson" in flags else "again.csv"
    again = tmp_path / name
    shutil.copy(first.rejects, again)
    second = run(again)
    assert second.code == 1
    assert counts(second.summary) == {
        "read": first.summary["failed"], "created": 0, "updated": 0, "unchanged": 0,
        "failed": first.summary["failed"]}
    assert second.summary["failed_by_reason"] == first.summary["failed_by_reason"]
    assert second.rejects.read_bytes() == first.rejects.read_bytes()
    assert faults(second) == faults(first)


def test_the_rejects_imported_in_place_of_the_file_survive_as_they_are(sample, run, server,
                                                                      workspace):
    first = run(sample(*DIRTY))
    before = first.rejects.read_bytes()
    again = contacts(
        "import", str(first.rejects), "--server", server.address, "--workspace", workspace,
        "--format", "csv", "--progress", "none")
    assert again.returncode == 1, again.stderr.decode()
    assert first.rejects.read_bytes() == before
    assert pathlib.Path(f"{first.rejects}.rejects.csv").read_bytes() == before


def test_the_rejects_once_mended_are_stored(sample, run, check, tmp_path):
    path = sample(*DIRTY)
    first = run(path)
    with open(first.rejects, newline="", encoding="utf-8", errors="replace") as stream:
        header, *records = csv.reader(stream)
    mended = tmp_path / "mended.csv"
    with open(mended, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for number, record in enumerate(records):
            record = [cell.replace("\0", "")[:200] for cell in record[:len(header)]]
            record[0] = f"mended{number}@example.com"
            record[1] = f"+4915100{number:06}"
            record[header.index("age:integer")] = "30"
            writer.writerow(record)
    second = run(mended)
    assert second.code == 0, second.errors
    assert second.summary["created"] == first.summary["failed"]
    report = check(mended, second, earlier=[(path, first.reasons)])
    assert report.rows == first.summary["created"] + second.summary["created"]


def faults(done):
    """What was wrong with each reject, without the places where they stood."""
    with open(done.reasons, encoding="utf-8") as stream:
        reasons = [json.loads(line) for line in stream]
    return [(reason["field"], reason["reason"]) for reason in reasons]


# ---------------------------------------------------------------------------- memory


@pytest.mark.memory
def test_memory_stays_bounded_while_a_file_is_imported(sample, run, server):
    path = sample(*DIRTY)
    server.forget_peak()
    done = run(path)
    peak = server.peak()
    print(f"server {peak:.1f} MiB, client {done.peak:.1f} MiB for {COUNT} rows")
    assert peak < SERVER_MIB
    assert done.peak < CLIENT_MIB


# ---------------------------------------------------------------------------- files as a whole


def test_an_unknown_file_ends_in_66(run, tmp_path):
    assert run(tmp_path / "nothing.csv").code == 66


def test_a_directory_ends_in_66(run, tmp_path):
    assert run(tmp_path).code == 66


@pytest.mark.parametrize(
    "content",
    [b"", b"\n\n", b"\x1f\x8b\x08\0\0\0\0\0", b"PK\x03\x04xl/workbook.xml",
     "email,name\none@example.com,Ann\n".encode("utf-16"), b"name,age\nAnn,5\n",
     b"email,E-Mail\none@example.com,two@example.com\n", b"email,n\xe9\none@example.com,5\n",
     b'"email,name\none@example.com,Ann\n', bytes(range(256)) * 64],
    ids=["empty", "blank", "gzip", "spreadsheet", "utf-16", "no email", "two emails", "latin-1",
         "open quote", "binary"])
def test_what_is_no_csv_file_ends_in_65_and_stores_nothing(
        content, run, server, workspace, tmp_path):
    path = tmp_path / "file.csv"
    path.write_bytes(content)
    done = run(path)
    assert done.code == 65, done.errors
    assert "contacts:" in done.errors
    assert rows(server, workspace) == []


def test_a_server_that_is_down_ends_in_69(sample, server, tmp_path):
    with socket.socket() as taken:
        # Bound and not listening: nothing answers, and nobody else takes the port.
        taken.bind(("127.0.0.1", 0))
        done = contacts(
            "import", str(sample(*CLEAN, count=10)), "--server",
            f"127.0.0.1:{taken.getsockname()[1]}", "--progress", "none")
    assert done.returncode == 69, done.stderr.decode()


# ---------------------------------------------------------------------------- looking up


def test_get_shows_the_contact_of_an_email(run, server, workspace, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text(
        "email,phone,name,age:integer\nAnn.Lee@Example.com,+1 617 555 1212,Ann Lee,41\n")
    assert run(path).code == 0
    place = ("--server", server.address, "--workspace", workspace)
    found = contacts("get", "ann.lee@example.com", *place)
    assert found.returncode == 0, found.stderr.decode()
    text = found.stdout.decode()
    for value in ("ann.lee@example.com", "+16175551212", "Ann Lee", "41"):
        assert value in text
    assert contacts("get", " ANN.LEE@example.COM ", *place).stdout == found.stdout


def test_get_ends_in_1_for_an_unknown_email_and_shows_the_known_ones(
        run, server, workspace, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("email\none@example.com\n")
    assert run(path).code == 0
    found = contacts(
        "get", "nobody@example.com", "one@example.com", "--server", server.address, "--workspace",
        workspace)
    assert found.returncode == 1
    assert b"nobody@example.com" in found.stderr
    assert b"one@example.com" in found.stdout
    assert b"nobody" not in found.stdout


def test_get_does_not_see_another_workspace(run, server, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text("email\none@example.com\n")
    assert run(path).code == 0
    other = server.workspace()
    found = contacts(
        "get", "one@example.com", "--server", server.address, "--workspace", other)
    assert found.returncode == 1
    assert found.stdout == b""


# ---------------------------------------------------------------------------- the check itself


def test_the_check_notices_each_kind_of_difference(sample, run, server, workspace):
    path = sample(*DIRTY, count=2000)
    done = run(path)

    def mismatches():
        return verify_import.verify(
            path, server.conninfo, done.rejects, workspace=workspace,
            summary=done.summary).mismatches

    assert mismatches() == 0
    where = "workspace_id = (SELECT id FROM workspaces WHERE name = %s)"
    one = f"id = (SELECT min(id::text)::uuid FROM contacts WHERE {where})"
    changes = [
        "UPDATE contacts SET last_name = coalesce(last_name, '') || '.' WHERE " + one,
        "UPDATE contacts SET phone = coalesce(phone, '+1') || '0' WHERE " + one,
        "UPDATE contacts SET fields = fields - 'plan' WHERE " + one,
        "UPDATE contacts SET fields = fields || '{\"more\": 1}' WHERE " + one,
        "UPDATE contacts SET fields = jsonb_set(fields, '{age}', to_jsonb(fields->>'age')) WHERE "
        + one,
        "DELETE FROM contacts WHERE " + one,
    ]
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        for number, change in enumerate(changes, 1):
            before = mismatches()
            connection.execute(change, (workspace,))
            # The contact that is gone takes its five differences with it.
            assert mismatches() == (before + 1 if number < len(changes) else 1), change
    records = done.rejects.read_bytes()
    done.rejects.write_bytes(records.replace(b"C-", b"c-", 1))
    assert mismatches() == 2
    done.rejects.write_bytes(records)
    lines = done.reasons.read_text().splitlines(keepends=True)
    done.reasons.write_text("".join(lines[1:]))
    assert mismatches() > 2


def rows(server, workspace):
    """All rows of a workspace as they stand, times included."""
    with psycopg.connect(server.conninfo) as connection:
        return connection.execute(
            "SELECT md5(c::text) FROM contacts c JOIN workspaces w ON w.id = c.workspace_id "
            "WHERE w.name = %s ORDER BY c.id", (workspace,)).fetchall()
