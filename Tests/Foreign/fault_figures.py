"""What the README promises of faults, measured at full size.

    python fault_figures.py [ROW...]

needs CONTACTSD and CONTACTS, the two programs. A row prints its figures, and fails when an answer is
wrong or a promise is broken. The tests have the same rows at a smaller size.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import grpc
import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

import harness
from commit_proxy import CommitProxy, Fate
from harness import CREATED, UNCHANGED, UPDATED, LiveCall, request, wait_until
from rpcs import events_so_far
from stubs import pb
from test_database import Cluster
from wire import Connection, envelope

CONTACTS = os.environ.get("CONTACTS", os.path.join(os.path.dirname(harness.CONTACTSD), "contacts"))
SERVING = health_pb2.HealthCheckResponse.SERVING


def is_serving(server):
    """On a connection of its own: a stream that the server holds back has all of its window."""
    with grpc.insecure_channel(server.address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == SERVING


class Times:
    """Seconds of something that happened again and again."""

    def __init__(self):
        self.all = []

    def take(self, since):
        self.all.append(time.monotonic() - since)

    def __str__(self):
        ordered = sorted(self.all)
        return (f"{len(ordered)} times, median {ordered[len(ordered) // 2]:.2f} s,"
                f" longest {ordered[-1]:.2f} s")


def lane_progress(cluster):
    """How far the furthest lane of any import is."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(cluster.url) as connection:
        found = connection.execute("SELECT max(decided_through) FROM import_progress").fetchone()
        return found[0] or 0
    return 0


def sample(count):
    """A file of contacts with repeats and bad ones."""
    file = tempfile.NamedTemporaryFile(suffix=".csv", delete=False)
    subprocess.run([CONTACTS, "sample", "--count", str(count)], stdout=file, check=True)
    file.close()
    return file.name


CONTENT = """
    SELECT count(*), md5(string_agg(md5(concat_ws('|', email, phone, external_id, name, first_name,
        last_name, fields::text)), '' ORDER BY email, id))
    FROM contacts WHERE workspace_id = (SELECT id FROM workspaces WHERE name = %s)
"""


class Import:
    """`contacts import` of a file, on its own."""

    def __init__(self, file, address, workspace, *flags):
        self.rejects = tempfile.mktemp(suffix=".rejects.csv")
        self.process = subprocess.Popen(
            [CONTACTS, "import", file, "--server", address, "--workspace", workspace, "--json",
             "--progress", "plain", "--rejects", self.rejects, *flags],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def is_over(self):
        return self.process.poll() is not None

    def finish(self, seconds=600):
        """The summary; some of a sample's contacts fail, which is exit code 1."""
        out, self.notes = self.process.communicate(timeout=seconds)
        assert self.process.returncode in (0, 1), (self.process.returncode, self.notes[-3000:])
        return json.loads(out)


class Disturbed:
    """An import under way, to be compared with one that nobody disturbs."""

    def __init__(self, cluster, server, file):
        self.cluster = cluster
        for name in ("undisturbed", "disturbed"):
            server.create_workspace(name=name)
        self.expected = Import(file, server.address, "undisturbed").finish()
        cluster.query("DELETE FROM import_progress")
        self.running = Import(file, server.address, "disturbed")

    def compare(self):
        """Waits for its end; the report, and how many contacts are stored."""
        report = self.running.finish()
        with psycopg.connect(self.cluster.url) as connection:
            contents = [connection.execute(CONTENT, (name,)).fetchone()
                        for name in ("undisturbed", "disturbed")]
        assert contents[0] == contents[1], contents
        decided = [sum(run[key] for key in ("created", "updated", "unchanged", "failed", "replayed"))
                   for run in (self.expected, report)]
        assert decided[0] == decided[1] == self.expected["read"], (self.expected, report)
        assert report["failed"] == self.expected["failed"], (self.expected, report)
        return report, contents[0][0]


def server_kills(count=1_000_000, kills=100, seed=1):
    """SIGKILL of the server at random moments of an import, each time started again."""
    cluster = Cluster()
    file = sample(count)
    chance = random.Random(seed)
    try:
        server = harness.Server(database_url=cluster.url)
        disturbed = Disturbed(cluster, server, file)
        moments = sorted(chance.sample(range(1000, int(count * 0.98)), kills))
        up, struck = Times(), 0
        for moment in moments:
            while lane_progress(cluster) < moment and not disturbed.running.is_over:
                time.sleep(0.002)
            if disturbed.running.is_over:
                break
            port = server.port
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            struck += 1
            start = time.monotonic()
            server = harness.Server(database_url=cluster.url,
                                    arguments=["--listen", f"127.0.0.1:{port}"])
            wait_until(lambda: is_serving(server), 20, "SERVING")
            up.take(start)
        report, stored = disturbed.compare()
        print(f"SIGKILL of the server, {struck} of {kills}, in an import of {count}: tables equal,"
              f" {stored} contacts; serving again: {up}; committed without an answer and"
              f" sent again: {report['replayed']}; longest {max(up.all):.2f} s of 2 s")
        assert struck == kills and max(up.all) < 2
        server.stop()
    finally:
        os.unlink(file)
        cluster.close()


def postmaster_kills(kills=20):
    """SIGKILL of the postmaster under a stream that goes on."""
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    again, stop, sent = Times(), threading.Event(), [0]
    call = LiveCall(server.stub, timeout=3600)
    answered = {}

    def send():
        while not stop.is_set():
            call.send(request([pb.Contact(email=f"{sent[0]}@kill.example")]))
            sent[0] += 1
            time.sleep(0.005)

    def read():
        for response in call.call:
            call.outcome.take(response)
            answered["last"] = (len(call.outcome.results), time.monotonic())

    threads = [threading.Thread(target=send, daemon=True), threading.Thread(target=read, daemon=True)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(kills):
            count = len(call.outcome.results)
            wait_until(lambda: len(call.outcome.results) > count + 20, 30, "answers")
            with open(f"{cluster.directory}/data/postmaster.pid") as file:
                postmaster = int(file.readline())
            os.kill(postmaster, signal.SIGKILL)
            wait_until(lambda: not harness.exists(postmaster), 20, "the end of the postmaster")
            start_again(cluster)
            start = time.monotonic()
            seen = len(call.outcome.results)
            wait_until(lambda: len(call.outcome.results) > seen, 30, "an answer")
            again.take(start)
        stop.set()
        threads[0].join()
        call.half_close()
        threads[1].join(60)
        assert server.process.poll() is None
        call.outcome.code = call.call.code()
        call.outcome.check_ok(sent[0])
        assert set(call.outcome.statuses) == {CREATED}
        assert sorted(row[0] for row in server.rows()) == sorted(call.outcome.ids)
        print(f"SIGKILL of the postmaster: {kills} times, the server lives; acknowledges after"
              f" PostgreSQL accepts connections: {again}, of 5 s")
        assert max(again.all) < 5
    finally:
        stop.set()
        server.close()
        cluster.close()


def start_again(cluster):
    """A new postmaster refuses to start while backends of the old one are there."""
    end = time.monotonic() + 30
    while True:
        try:
            return cluster.start()
        except AssertionError:
            assert time.monotonic() < end, "PostgreSQL does not start"
            time.sleep(0.1)


def broken_commits(breaks=300, seed=1):
    """The line to the database broken around COMMIT; some are followed by a crash."""
    cluster = Cluster()
    proxy = CommitProxy(cluster.directory)
    server = harness.Server(database_url=proxy.url, lanes=2)
    chance = random.Random(seed)
    times, crashes, names = Times(), 0, {}
    changes = 0
    fates = [fate for fate in Fate if fate is not Fate.PASSED]
    call = LiveCall(server.stub, timeout=3600)
    call.send(request(run_workflow=True))
    call.read()
    try:
        for number in range(breaks):
            fate = chance.choice(fates)
            sent = [(f"{chance.randrange(2000)}@commit.example", chance.choice("ABC"))
                    for _ in range(chance.randint(1, 60))]
            expected = []
            for email, name in sent:
                before = names.get(email)
                names[email] = name
                expected.append(CREATED if before is None else
                                UNCHANGED if before == name else UPDATED)
            changes += sum(status != UNCHANGED for status in expected)
            proxy.strike(fate)
            start = time.monotonic()
            count = len(call.outcome.results)
            call.send(request([pb.Contact(email=email, name=name) for email, name in sent]))
            if proxy.reached.wait(5):
                proxy.go_on.set()
            if chance.random() < 0.2:
                cluster.stop("immediate")
                cluster.start()
                crashes += 1
                start = time.monotonic()
            call.read_results(count + len(sent))
            times.take(start)
            assert call.outcome.statuses[count:] == expected, (number, fate)
            ids = dict(zip([email for email, _ in sent], call.outcome.ids[count:]))
            stored = {email: (id_, name) for id_, email, name in server_rows(cluster)}
            assert {email: stored[email] for email in ids} == {
                email: (id_, names[email]) for email, id_ in ids.items()}, (number, fate)
        call.half_close()
        call.finish()
        assert {email: name for _, email, name in server_rows(cluster)} == names
        assert len(events_so_far(server.stub, None)) == changes
        print(f"the line to PostgreSQL broken around COMMIT: {len(proxy.struck)} times, {crashes} of"
              f" {breaks} rounds with a crash of PostgreSQL: every answer definite and true, after"
              f" {times}, of 10 s")
        assert max(times.all) < 10
    finally:
        proxy.go_on.set()
        server.close()
        proxy.close()
        cluster.close()


def server_rows(cluster):
    with psycopg.connect(cluster.url) as connection:
        return connection.execute("SELECT id::text, email, name FROM contacts").fetchall()


def database_stop(count=1_000_000, seconds=30):
    """PostgreSQL stopped in the middle of an import, and started again."""
    cluster = Cluster()
    file = sample(count)
    try:
        server = harness.Server(database_url=cluster.url)
        disturbed = Disturbed(cluster, server, file)
        wait_until(lambda: lane_progress(cluster) > count * 0.3, 60, "a third of the import")
        cluster.stop("fast")
        time.sleep(seconds)
        cluster.start()
        disturbed.compare()
        waiting = [line for line in disturbed.running.notes.splitlines()
                   if "waiting" in line or "again" in line]
        print(f"PostgreSQL stopped for {seconds} s in an import of {count}: it ended by itself,"
              f" tables equal; said meanwhile: {waiting}")
        server.stop()
    finally:
        os.unlink(file)
        cluster.close()


def backends(cluster, like="contactsd%"):
    with psycopg.connect(cluster.url) as connection:
        return [pid for pid, in connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE %s", (like,))]


def load(address, *flags):
    """`contacts load`; its report. Every answer is read back when --verify is among the flags."""
    done = subprocess.run([CONTACTS, "load", "--server", address, "--json", "-", *flags],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def slow_database(count=200_000, streams=200):
    """PostgreSQL's processes get a tenth of the time, while 200 streams push."""
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)
    stop = threading.Event()

    def slow_down():
        pids, looked = [], 0
        while not stop.is_set():
            if time.monotonic() - looked > 2:
                pids, looked = backends(cluster), time.monotonic()
            signal_all(pids, signal.SIGSTOP)
            time.sleep(0.09)
            signal_all(pids, signal.SIGCONT)
            time.sleep(0.01)

    try:
        load(server.address, "--contacts", "20000", "--streams", "20", "--prefix", "warm-")
        thread = threading.Thread(target=slow_down)
        thread.start()
        begin = time.monotonic()
        report = load(server.address, "--contacts", str(count), "--streams", str(streams),
                      "--connections", "20", "--chunk", "100", "--verify")
        seconds = time.monotonic() - begin
        stop.set()
        thread.join()
        assert len(server.rows()) == count + 20_000
        print(f"PostgreSQL at a tenth of its speed, {streams} streams, {count} contacts: all arrived"
              f" and are read back, in {seconds:.0f} s; server RSS at most"
              f" {server.memory('VmHWM'):.0f} MiB of 256")
        assert server.memory("VmHWM") < 256, report
    finally:
        stop.set()
        server.close()
        cluster.close()


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def hung_backend():
    """A lane's backend is stopped, once while it is idle and once amid a statement; contacts of other
    lanes go on."""
    for amid in (False, True):
        cluster = Cluster()
        server = harness.Server(database_url=cluster.url, lanes=4)
        stopped = None
        try:
            for number in range(200):
                timed_upsert(server, f"warm{number}")
            results = {}
            threads = [threading.Thread(target=try_upsert, args=(server, f"n{number}", results))
                       for number in range(40)]
            if amid:
                cluster.query(SLOW)
                threads.insert(0, threading.Thread(
                    target=try_upsert, args=(server, "slow", results)))
                threads[0].start()
                wait_until(lambda: cluster.query(SLEEPING), 10, "a backend amid a statement")
                stopped = int(cluster.query(SLEEPING))
            else:
                stopped, *_ = backends(cluster, "contactsd lane 1")
            os.kill(stopped, signal.SIGSTOP)
            begin = time.monotonic()
            for thread in threads[amid:]:
                thread.start()
            for thread in threads:
                thread.join()
            last = time.monotonic() - begin
            quick = [seconds for seconds, code in results.values() if seconds < 2]
            ends = sorted({(round(seconds), code) for seconds, code in results.values()
                           if seconds >= 2})
            print(f"a backend hangs (SIGSTOP){' amid a statement' if amid else ''}: {len(quick)} of"
                  f" {len(results)} calls are answered within {max(quick):.2f} s, those of its lane"
                  f" after {last:.0f} s of 65: {ends}")
            assert quick and last < 66
            signal_all([stopped], signal.SIGCONT)
            timed_upsert(server, "slow" if amid else "n1")
        finally:
            if stopped:
                signal_all([stopped], signal.SIGCONT)
            server.close()
            cluster.close()


SLOW = """
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(3); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON contacts FOR EACH ROW
        WHEN (NEW.email = 'slow@hung.example') EXECUTE FUNCTION slow()
"""
SLEEPING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


def timed_upsert(server, name):
    begin = time.monotonic()
    answer = harness.upsert(server.stub, [pb.Contact(email=f"{name}@hung.example")], timeout=150)
    assert answer.results[0].status in (CREATED, UNCHANGED)
    return time.monotonic() - begin


def try_upsert(server, name, results):
    begin = time.monotonic()
    try:
        timed_upsert(server, name)
        results[name] = (time.monotonic() - begin, "answered")
    except grpc.RpcError as error:
        results[name] = (time.monotonic() - begin, error.code().name)


def same_keys(count=100_000):
    """Eight streams over the same 300 keys, against disjoint ones."""
    cluster = Cluster()
    server = harness.Server(database_url=cluster.url)

    def run(name, key):
        workspace = server.create_workspace(name=name)

        def stream(number):
            def messages():
                for start in range(0, count // 8, 100):
                    yield request([pb.Contact(email=key(number, n), name=f"{number} {n}")
                                   for n in range(start, start + 100)])
            outcome = harness.bulk(server.stub, messages(), workspace, timeout=600)
            outcome.check_ok(count // 8)
            assert not outcome.reasons

        threads = [threading.Thread(target=stream, args=(number,)) for number in range(8)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return count / (time.monotonic() - begin)

    try:
        run("warm", lambda number, n: f"{number}-{n}@x.example")
        rates = {"same": [], "disjoint": []}
        for round_ in range(3):
            rates["disjoint"].append(run(
                f"disjoint{round_}", lambda number, n: f"{number}-{n % 300}@x.example"))
            rates["same"].append(run(f"same{round_}", lambda number, n: f"{n % 300}@x.example"))
        ratio = sum(rates["same"]) / sum(rates["disjoint"])
        print(f"eight streams over the same 300 keys: no error; {ratio:.2f} of the throughput over"
              f" 300 keys each, of 0.5 ({[round(rate) for rate in rates['same']]} and"
              f" {[round(rate) for rate in rates['disjoint']]} a second, by a Python client)")
        assert ratio >= 0.5
    finally:
        server.close()
        cluster.close()


def never_reads(seconds=600):
    """A client that sends and never reads, for a while."""
    server = harness.Server()
    try:
        load(server.address, "--contacts", "100000", "--streams", "20")
        time.sleep(6)
        before = server.memory("VmRSS")
        connection = Connection(server)
        streams = [connection.open("/contacts.v1.ContactService/BulkUpsert") for _ in range(50)]
        message = envelope(request([
            pb.Contact(email=f"{n}@deaf.example", name="x" * 300) for n in range(500)]))
        begin, most = time.monotonic(), before
        while time.monotonic() - begin < seconds:
            for stream in streams:
                with contextlib.suppress(OSError):
                    connection.send(stream, message, seconds=0.05)
            most = max(most, server.memory("VmRSS"))
        connection.socket.close()
        time.sleep(12)
        after = server.memory("VmRSS")
        print(f"a client that never reads, 50 streams, {seconds} s: server RSS {before:.0f} MiB before,"
              f" at most {most:.0f}, {after:.0f} after")
        assert after < before + 20
    finally:
        server.close()


ROWS = {row.__name__: row
        for row in (broken_commits, postmaster_kills, database_stop, server_kills, slow_database,
                    hung_backend, same_keys, never_reads)}

if __name__ == "__main__":
    for chosen in sys.argv[1:] or ROWS:
        ROWS[chosen]()
