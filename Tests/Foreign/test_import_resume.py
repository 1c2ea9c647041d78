"""`contacts import` over servers, databases and clients that go away: it goes on, and what it leaves
is what an undisturbed import leaves.

CONTACTSD and CONTACTS name the binaries, RESUME_COUNT the rows (20,000 unless set), RESUME_AWAY how
many seconds the database is away (5 unless set; the server itself waits for 30).
"""

import json
import os
import signal
import subprocess
import time

import harness
import pytest
import verify_import
from test_database import cluster  # noqa: F401, a fixture
from stubs import REPOSITORY

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")
COUNT = int(os.environ.get("RESUME_COUNT", "20000"))
AWAY = float(os.environ.get("RESUME_AWAY", "5"))
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
    run = Import(path, server.address)
    when_stored(server, run, COUNT // 4)
    cluster.stop()
    time.sleep(AWAY)
    assert run.is_running(), run.end().errors
    cluster.start()
    run.end()
    assert run.code == 1, run.errors
    assert run.summary["error"] is None and run.summary["undecided"] == 0
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
