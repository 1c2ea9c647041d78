"""`contacts import` over servers, databases and clients that go away: it goes on, and what it leaves
is what an undisturbed import leaves.

CONTACTSD and CONTACTS name the binaries, RESUME_COUNT the rows (20,000 unless set), RESUME_AWAY how
many seconds the database is away (5 unless set; the server itself waits for 30).
"""

import json
import os
import random as random_numbers
import signal
import subprocess
import time

import harness
import pytest
import verify_import
from test_database import cluster  # noqa: F401, a fixture
from stubs import REPOSITORY, pb

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")
COUNT = int(os.environ.get("RESUME_COUNT", "20000"))
AWAY = float(os.environ.get("RESUME_AWAY", "13"))
SECONDS = 300


class Import:
    """A run of `contacts import` that can be disturbed."""

    def __init__(self, path, address, *flags, workspace="default"):
        self.process = subprocess.Popen(
            [CONTACTS, "import", str(path), "--server", address, "--workspace", workspace, "--json",
             "--progress", "none", "--chunk", "50", *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self):
        output, errors = self.process.communicate(timeout=SECONDS)
        self.code = self.process.returncode
        self.errors = errors.decode()
        self.summary = json.loads(output) if output else None
        return self

    def is_running(self):
        return self.process.poll() is None


def stored(server, workspace="default"):
    return server.query(
        "SELECT count(*) FROM contacts c JOIN workspaces w ON w.id = c.workspace_id"
        " WHERE w.name = %s", workspace)[0][0]


def when_stored(server, run, count, workspace="default"):
    """Waits until so many contacts are there; fails when the import ends before."""
    harness.wait_until(
        lambda: stored(server, workspace) >= count or not run.is_running(), SECONDS,
        f"{count} contacts")
    assert run.is_running(), run.end().errors


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Writes a file of made-up contacts, some of them faulty, once for each format."""
    made = {}

    def sample(format="csv", count=COUNT):
        if (format, count) not in made:
            path = tmp_path_factory.mktemp("samples") / f"people.{format}"
            with open(path, "wb") as stream:
                subprocess.run(
                    [CONTACTS, "sample", "--count", str(count), "--format", format, "--dirty",
                     "0.02", "--repeats", "0.02"], check=True, stdout=stream, timeout=SECONDS)
            made[format, count] = path
        return made[format, count]

    return sample


@pytest.fixture
def copy(sample, tmp_path):
    """A file of a test's own, beside which its import may write."""

    def copy(format="csv", count=COUNT):
        path = tmp_path / f"people.{format}"
        path.write_bytes(sample(format, count).read_bytes())
        return path

    return copy


def check(path, server, workspace="default"):
    """Every record is in the table or among the rejects."""
    report = verify_import.verify(
        path, server.conninfo(), f"{path}.rejects.{path.suffix[1:]}", workspace=workspace)
    assert report.mismatches == 0, report.text()


# ---------------------------------------------------------------------------- by itself


@pytest.mark.parametrize("how", ["kill", "term"])
def test_a_server_that_dies_and_comes_back_is_waited_for(how, own_servers, data_dir, copy):
    path = copy()
    server = own_servers(data_dir=data_dir)
    run = Import(path, server.address)
    for part in (1, 2):
        when_stored(server, run, COUNT * part // 4)
        server.process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        server.wait()
        time.sleep(0.5)
        assert run.is_running(), run.end().errors
        server = own_servers(data_dir=data_dir, arguments=("--listen", server.address))
    run.end()
    assert run.code == 1, run.errors
    assert run.summary["error"] is None and run.summary["undecided"] == 0
    assert run.summary["read"] == sum(
        run.summary[word] for word in ("created", "updated", "unchanged", "replayed", "failed"))
    check(path, server)


def test_a_database_that_goes_away_is_waited_for(cluster, own_servers, copy):  # noqa: F811
    path = copy()
    server = own_servers(database_url=cluster.url)
    run = Import(path, server.address, "--progress", "plain")
    when_stored(server, run, COUNT // 4)
    cluster.stop()
    time.sleep(AWAY)
    assert run.is_running(), run.end().errors
    cluster.start()
    run.end()
    assert run.code == 1, run.errors
    assert run.summary["error"] is None and run.summary["undecided"] == 0
    told = [line for line in run.errors.splitlines() if "waiting for results (" in line]
    assert told and all("its database takes no contacts" in line for line in told), run.errors
    check(path, server)


def test_each_of_several_streams_goes_on(own_servers, data_dir, copy):
    path = copy()
    server = own_servers(data_dir=data_dir)
    run = Import(path, server.address, "--streams", "3")
    when_stored(server, run, COUNT // 3)
    server.process.kill()
    server.wait()
    server = own_servers(data_dir=data_dir, arguments=("--listen", server.address))
    run.end()
    assert run.code == 1, run.errors
    assert run.summary["read"] == COUNT and run.summary["undecided"] == 0


def test_progress_tells_of_a_server_that_is_away(own_servers, data_dir, copy):
    server = own_servers(data_dir=data_dir)
    run = Import(copy(), server.address, "--progress", "plain")
    when_stored(server, run, COUNT // 4)
    server.process.kill()
    server.wait()
    time.sleep(12)
    server = own_servers(data_dir=data_dir, arguments=("--listen", server.address))
    assert run.end().code == 1, run.errors
    assert "the server is not available, trying again (" in run.errors


def test_patience_ends_in_69(own_servers, data_dir, copy):
    server = own_servers(data_dir=data_dir)
    run = Import(copy(), server.address, "--retry-for", "1")
    when_stored(server, run, COUNT // 4)
    server.process.kill()
    server.wait()
    start = time.monotonic()
    assert run.end().code == 69, run.errors
    assert 0.9 < time.monotonic() - start < 15
    assert "UNAVAILABLE" in run.errors and run.summary["undecided"] > 0


def test_ctrl_c_does_not_wait_for_a_server_that_is_away(own_servers, data_dir, copy):
    server = own_servers(data_dir=data_dir)
    run = Import(copy(), server.address)
    when_stored(server, run, COUNT // 4)
    server.process.kill()
    server.wait()
    time.sleep(0.5)
    start = time.monotonic()
    run.process.send_signal(signal.SIGINT)
    assert run.end().code == 130, run.errors
    assert time.monotonic() - start < 5


def test_a_known_import_is_replayed(server, workspace, copy):
    path = copy()
    first = Import(path, server.address, "--import-id", "mine", workspace=workspace).end()
    assert first.code == 1, first.errors
    again = Import(path, server.address, "--import-id", "mine", workspace=workspace).end()
    assert again.code == 1, again.errors
    assert again.summary["created"] == again.summary["updated"] == 0
    assert again.summary["replayed"] == COUNT - first.summary["failed"]
    assert again.summary["failed_by_reason"] == first.summary["failed_by_reason"]
    check(path, server, workspace)


# ---------------------------------------------------------------------------- by --resume


@pytest.fixture(scope="module")
def undisturbed(server, sample, tmp_path_factory):
    """Imports a file without any disturbance, once for each format."""
    made = {}

    def undisturbed(format):
        if format not in made:
            path = tmp_path_factory.mktemp("undisturbed") / f"people.{format}"
            path.write_bytes(sample(format).read_bytes())
            run = Import(path, server.address, workspace=server.create_workspace()).end()
            assert run.code == 1, run.errors
            assert not state_of(path).exists()
            made[format] = (path, run.summary)
        return made[format]

    return undisturbed


def state_of(path):
    return path.with_name(path.name + ".import-state.json")


def rejects_of(path):
    records = path.with_name(f"{path.name}.rejects.{path.suffix[1:]}")
    return records.read_bytes(), records.with_name(records.name + ".reasons.ndjson").read_bytes()


def same_as(undisturbed, path, run):
    """What an import in parts has left is what one in a piece has left."""
    whole, summary = undisturbed
    assert run.code == 1, run.errors
    assert not state_of(path).exists()
    assert rejects_of(path) == rejects_of(whole)
    for word in ("read", "failed", "failed_by_reason", "undecided", "settled_through_line"):
        assert run.summary[word] == summary[word], word
    words = ("created", "updated", "unchanged", "replayed")
    assert sum(run.summary[word] for word in words) == sum(summary[word] for word in words)


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_import_is_gone_on_with(seed, server, workspace, undisturbed, copy):
    random = random_numbers.Random(seed)
    format = ("csv", "ndjson")[seed % 2]
    path = copy(format)
    kills = sorted(random.randrange(1, COUNT // 2) for _ in range(1 + seed % 3))
    for number, count in enumerate(kills):
        flags = ("--resume",) if number else ()
        run = Import(path, server.address, "--chunk", "10", *flags, workspace=workspace)
        when_stored(server, run, count, workspace)
        time.sleep(random.random() * 0.2)
        run.process.kill()
        run.process.communicate()
        assert run.process.returncode == -signal.SIGKILL, "the import was faster"
        assert state_of(path).stat().st_mode & 0o777 == 0o600
    run = Import(path, server.address, "--resume", workspace=workspace).end()
    assert "goes on with line" in run.errors
    same_as(undisturbed(format), path, run)
    check(path, server, workspace)


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_import_is_gone_on_with(
        signum, code, server, workspace, undisturbed, copy):
    path = copy()
    run = Import(path, server.address, workspace=workspace)
    when_stored(server, run, COUNT // 4, workspace)
    run.process.send_signal(signum)
    run.end()
    assert run.code == code, run.errors
    assert run.summary["undecided"] == 0 and run.summary["error"] is None
    last = run.errors.splitlines()[-1]
    assert f"contacts import --resume {path} --server" in last
    state = json.loads(state_of(path).read_text())
    # The last record may be of many lines.
    assert state["position"]["line"] > run.summary["settled_through_line"]
    assert state["position"]["sequence"] == stored_sequence(server, workspace)
    again = Import(path, server.address, "--resume", workspace=workspace).end()
    assert again.summary["replayed"] == 0
    same_as(undisturbed("csv"), path, again)
    check(path, server, workspace)


def stored_sequence(server, workspace):
    """How far the server has the workspace's only import."""
    metadata = harness.metadata(workspace)
    imports = server.stub.ListImports(pb.ListImportsRequest(), metadata=metadata).imports
    assert len(imports) == 1
    return imports[0].summary.committed_through


def test_an_import_that_lost_its_server_is_gone_on_with(own_servers, data_dir, copy):
    path = copy()
    server = own_servers(data_dir=data_dir)
    run = Import(path, server.address, "--retry-for", "0")
    when_stored(server, run, COUNT // 4)
    server.process.kill()
    server.wait()
    assert run.end().code == 69, run.errors
    assert "contacts import --resume" in run.errors.splitlines()[-1]
    server = own_servers(data_dir=data_dir)
    again = Import(path, server.address, "--resume", "--retry-for", "0").end()
    assert again.code == 1, again.errors
    assert again.summary["read"] == COUNT and again.summary["undecided"] == 0
    check(path, server)


@pytest.fixture
def broken_off(server, workspace, copy):
    """A file whose import was interrupted."""
    path = copy(count=4000)
    run = Import(path, server.address, "--chunk", "10", workspace=workspace)
    when_stored(server, run, 100, workspace)
    run.process.send_signal(signal.SIGINT)
    assert run.end().code == 130, run.errors
    return path


def touch(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("change", [
    touch, lambda path: path.write_bytes(path.read_bytes() + b"x@x.example\n"),
], ids=["a byte", "a record more"])
def test_a_file_that_has_changed_is_not_gone_on_with(
        change, broken_off, server, workspace):
    before = stored(server, workspace)
    change(broken_off)
    run = Import(broken_off, server.address, "--resume", workspace=workspace).end()
    assert run.code == 65, run.errors
    assert "has changed" in run.errors
    assert stored(server, workspace) == before and state_of(broken_off).exists()


@pytest.mark.parametrize("flags, words", [
    (("--mode", "replace"), "--mode"), (("--import-id", "other"), "--import-id"),
    (("--dial-code", "49"), "--dial-code"), (("--ignore", "plan"), "--ignore"),
])
def test_other_options_do_not_go_on(flags, words, broken_off, server, workspace):
    before = stored(server, workspace)
    run = Import(broken_off, server.address, "--resume", *flags, workspace=workspace).end()
    assert run.code == 64, run.errors
    assert f"{words} is not what it was" in run.errors
    assert stored(server, workspace) == before


def test_a_server_that_does_not_know_the_import_is_not_sent_its_end(broken_off, server, workspace):
    server.query("DELETE FROM imports WHERE workspace_id ="
                 " (SELECT id FROM workspaces WHERE name = %s) RETURNING 1", workspace)
    before = stored(server, workspace)
    run = Import(broken_off, server.address, "--resume", workspace=workspace).end()
    assert run.code == 70, run.errors
    assert "another server or workspace" in run.errors
    assert stored(server, workspace) == before


def test_a_state_that_is_damaged_or_whose_rejects_are_gone(broken_off, server, workspace):
    state = state_of(broken_off)
    whole = state.read_bytes()
    rejects = broken_off.with_name(broken_off.name + ".rejects.csv")
    rejects.write_bytes(b"")
    run = Import(broken_off, server.address, "--resume", workspace=workspace).end()
    assert run.code in (65, 73), run.errors
    state.write_bytes(whole[:-20])
    run = Import(broken_off, server.address, "--resume", workspace=workspace).end()
    assert run.code == 65 and "is damaged" in run.errors


def test_without_a_state_it_begins_at_the_start(server, workspace, copy):
    path = copy(count=1000)
    run = Import(path, server.address, "--resume", workspace=workspace).end()
    assert run.code == 1, run.errors
    assert "begins at the start" in run.errors
    assert run.summary["read"] == 1000


def test_a_state_that_is_not_asked_for_is_told_of(broken_off, server, workspace):
    run = Import(broken_off, server.address, workspace=workspace).end()
    assert run.code == 1, run.errors
    assert "--resume would have gone on with it" in run.errors
    assert run.summary["read"] == 4000 and not state_of(broken_off).exists()


@pytest.mark.parametrize("flags", [("--streams", "2"), ("--dry-run",)])
def test_what_keeps_no_state_is_not_resumed(flags, copy):
    run = Import(copy(count=10), "127.0.0.1:1", "--resume", *flags).end()
    assert run.code == 64 and "--resume" in run.errors


def test_standard_input_is_not_resumed():
    run = Import("-", "127.0.0.1:1", "--resume").end()
    assert run.code == 64 and "--resume" in run.errors


def test_a_folder_that_cannot_be_written_keeps_no_import_from_running(
        server, workspace, copy, tmp_path):
    path = copy(count=100)
    state_of(path).with_name(state_of(path).name + ".tmp").mkdir()
    run = Import(path, server.address, workspace=workspace).end()
    assert run.code == 1, run.errors
    assert not state_of(path).exists()
