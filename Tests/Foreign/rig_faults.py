"""What can happen to an import on its way, and a plan of when it does."""

import contextlib
import dataclasses
import random
import signal
import threading
import time

import grpc
import psycopg

from commit_proxy import COMMIT, COMMITTED
from harness import metadata, request, wait_until
from rig import pause, signal_process
from stubs import rpc


LANES = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'contactsd lane %'"
LANES_AT_WORK = f"{LANES} AND state <> 'idle'"


# FailurePoint of the server.
POINTS = ["before-copy-ends", "before-commit", "after-commit", "before-progress-is-read"]


class Faults:
    """Every method is a fault. It returns once what it broke is there again."""

    def __init__(self, run, chance):
        self.run, self.site, self.chance = run, run.site, chance

    # Servers.

    def kill_server(self):
        with self.site.changing_servers:
            server = self.chance.choice(self.site.servers)
            self.site.kill_server(server)
            self.site.start_server(server.port if self.chance.random() < 0.5 else 0)

    def die_at_a_point(self):
        """A server that ends itself at a moment which chance rarely hits; in debug builds only."""
        with self.site.changing_servers:
            server = self.chance.choice(self.site.servers)
            point, count = self.chance.choice(POINTS), self.chance.choice([1, 1, 2, 5])
            self.site.kill_server(server)
            server = self.site.start_server(failure_point=f"{point}:{count}")
            self.site.watch_for_its_end(server, self.chance.uniform(1, 3))
            self.site.start_server()

    def end_server(self):
        with self.site.changing_servers:
            server = self.chance.choice(self.site.servers)
            if self.chance.random() < 0.5:
                self.site.start_server()
                self.site.end_server(server)
            else:
                self.site.end_server(server)
                self.site.start_server()

    def second_server(self):
        with self.site.changing_servers:
            if len(self.site.servers) < 3:
                self.site.start_server()

    def pause_server(self):
        servers = self.site.servers + self.site.ending
        pause([self.chance.choice(servers).pid] if servers else [], self.chance.uniform(0.3, 2))

    # The database.

    def stop_database(self):
        with self.site.changing_database:
            self.site.database.stop("immediate")
            time.sleep(self.chance.choice([0, 0.5, 1.5]))
            self.site.database.start()

    def kill_backend(self):
        """The postmaster then ends all others too, and recovers."""
        with self.site.changing_database:
            backends = self.site.database.backends()
            if backends and signal_process(self.chance.choice(backends), signal.SIGKILL):
                self._wait_for_database()

    def _wait_for_database(self):
        def answers():
            with contextlib.suppress(Exception):
                return self.site.query("SELECT 1")
        wait_until(answers, 30, "the database")

    def pause_backend(self):
        backends = self.site.database.backends()
        if backends:
            pause([self.chance.choice(backends)], self.chance.uniform(0.3, 2))

    def break_with_a_lane_behind(self):
        """The other lanes go on for a while, so that contacts beyond a gap are committed; then the
        import breaks off, and the lane wakes up when nobody waits for it any more."""
        lanes = []
        with contextlib.suppress(psycopg.Error):
            lanes = self.site.query(LANES_AT_WORK) or self.site.query(LANES)
        if not lanes:
            return
        lane = [self.chance.choice(lanes)[0]]
        pausing = threading.Thread(target=pause, args=(lane, self.chance.uniform(0.5, 2.5)))
        pausing.start()
        time.sleep(self.chance.uniform(0.2, 0.8))
        self.chance.choice([self.kill_server, self.stop_client, self.cut_front, self.cut_back])()
        pausing.join()

    def pause_database(self):
        pause([pid for pid, _ in self.site.database.children()], self.chance.uniform(0.3, 1.5))

    # The lines.

    def cut_front(self):
        for _ in range(self.chance.choice([1, 1, 3])):
            self.site.front.cut(self.chance.random() < 0.5)
            time.sleep(0.05)

    def lose_commits(self):
        """The line breaks before some COMMITs, or between them and their answers."""
        for _ in range(self.chance.choice([1, 2, 4])):
            self.site.back.lose(self.chance.choice([COMMIT, COMMITTED]))
            time.sleep(self.chance.uniform(0.1, 0.6))
        self.site.back.lose(None)

    def cut_back(self):
        for _ in range(self.chance.choice([1, 1, 3])):
            self.site.back.cut(self.chance.random() < 0.5)
            time.sleep(0.05)

    def stall_front(self):
        self._stall(self.site.front)

    def stall_back(self):
        self._stall(self.site.back)

    def _stall(self, proxy):
        proxy.stall()
        time.sleep(self.chance.choice([1, 1, 2, 4]))
        if self.chance.random() < 0.5:
            proxy.cut(self.chance.random() < 0.5)
        proxy.restore()

    def slow_front(self):
        self._slow(self.site.front)

    def slow_back(self):
        self._slow(self.site.back)

    def _slow(self, proxy):
        proxy.slow(self.chance.choice([2000, 20_000]))
        time.sleep(self.chance.uniform(0.3, 1.5))
        proxy.restore()

    def split_front(self):
        self._split(self.site.front)

    def split_back(self):
        self._split(self.site.back)

    def _split(self, proxy):
        proxy.split(self.chance.choice([1, 20, 1500]))
        time.sleep(self.chance.uniform(0.3, 1.5))
        proxy.restore()

    # Clients.

    def stop_client(self):
        """The next one knows nothing but the import's id."""
        self.run.client.stop()

    def rival(self):
        """Another caller takes the import, and leaves it."""
        self.run.rivals += 1
        with grpc.insecure_channel(self.site.front.address) as channel:
            call = rpc.ContactServiceStub(channel).BulkUpsert(
                iter([request(import_id=self.run.import_id, run_workflow=True)]),
                metadata=metadata(self.run.workspace), timeout=10)
            with contextlib.suppress(grpc.RpcError):
                next(call)
            call.cancel()


KINDS = sorted(name for name in vars(Faults) if not name.startswith("_"))


@dataclasses.dataclass(frozen=True)
class Planned:
    """`kind` happens once a result came: that of contact `sequence`."""

    kind: str
    sequence: int
    seed: float


def planned(seed, count, kinds=KINDS):
    chance = random.Random(f"faults {seed}")
    return sorted(
        (Planned(chance.choice(kinds), chance.randrange(int(count * 0.9)), chance.random())
         for _ in range(chance.randint(3, 6))), key=lambda fault: fault.sequence)


class Striking:
    """Lets the planned faults happen, each on a thread of its own, so that they may overlap."""

    def __init__(self, run, faults):
        self.run, self.faults = run, faults
        # What happened: (seconds, kind, result, "begins" or "is over").
        self.log = []
        self.errors = []
        self._is_called_off = False
        self._start = time.monotonic()
        self._threads = [threading.Thread(target=self._strike, args=(fault,), daemon=True)
                         for fault in faults]
        for thread in self._threads:
            thread.start()

    def _strike(self, fault):
        self.run.journal.wait_for(fault.sequence, lambda: self._is_called_off)
        if self._is_called_off:
            return
        self._note(fault, "begins")
        try:
            getattr(Faults(self.run, random.Random(fault.seed)), fault.kind)()
        except BaseException as error:
            self.errors.append(error)
            self._note(fault, f"fails: {error!r}")
        self._note(fault, "is over")

    def _note(self, fault, what):
        self.log.append(
            f"{time.monotonic() - self._start:7.2f} s, result"
            f" {self.run.journal.received_through}: {fault.kind} {what}")

    @property
    def is_over(self):
        return not any(thread.is_alive() for thread in self._threads)

    def finish(self):
        """Those that have not begun will not; waits for the others."""
        self._is_called_off = True
        with self.run.journal.changed:
            self.run.journal.changed.notify_all()
        end = time.monotonic() + 60
        for thread in self._threads:
            thread.join(max(0, end - time.monotonic()))

    def check(self):
        """Raises what went wrong."""
        assert self.is_over, "a fault does not end"
        for error in self.errors:
            raise error
