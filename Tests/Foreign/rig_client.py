"""A client that brings an import to its end, however often it is broken off.

    python rig_client.py ADDRESS WORKSPACE IMPORT SEED COUNT CHANCE

runs one in a process of its own, which knows nothing of earlier ones, and prints what it learns.
"""

import os
import queue
import random
import subprocess
import sys
import threading
import time

import grpc

from harness import metadata, request
from rig_journal import Lines, Told, read_line
from rig_plan import Plan
from stubs import REPOSITORY, rpc

CALL_LIMIT = 100
SHORTEST_PAUSE, LONGEST_PAUSE = 0.02, 0.5


class Client:
    """Knows the import's contacts and id, and which was answered last, and goes on after it. One
    that has no answer yet asks the server where to begin."""

    def __init__(self, address, workspace, import_id, plan, journal, chance):
        self.address, self.workspace, self.import_id = address, workspace, import_id
        self.plan, self.journal, self.chance = plan, journal, chance
        self.last = None
        self._is_stopped = False
        self._call = None

    def run(self):
        """Calls until the import is answered, or the client is stopped."""
        self.journal.client_started()
        pause = SHORTEST_PAUSE
        while not self._is_stopped:
            before = self.last
            if self._one_call() == "OK":
                return
            pause = SHORTEST_PAUSE if self.last != before else min(pause * 2, LONGEST_PAUSE)
            time.sleep(pause * self.chance.uniform(0.5, 1))

    def stop(self):
        """Breaks off, from any thread."""
        self._is_stopped = True
        call = self._call
        if call:
            call.cancel()

    def _one_call(self):
        # A channel of its own connects at once, whatever became of others.
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(self.address, options=options) as channel:
            self.journal.call_begins()
            sending = _Sending(self)
            call = self._call = rpc.ContactServiceStub(channel).BulkUpsert(
                sending.messages(), metadata=metadata(self.workspace), timeout=CALL_LIMIT)
            if self._is_stopped:
                call.cancel()
            try:
                self._read(call, sending)
            except grpc.RpcError:
                pass
            finally:
                sending.end()
                call.cancel()
            code = call.code().name
            self.journal.ended(code, call.details() or "")
            return code

    def _read(self, call, sending):
        counts = {}
        for response in call:
            kind = response.WhichOneof("response")
            if kind == "started":
                first = self._place(response.started.committed_through)
                self.journal.started(response.started.committed_through, first)
                self.last = first - 1
                sending.first.put(first)
            elif kind == "results":
                for result in response.results.results:
                    counts[result.status] = counts.get(result.status, 0) + 1
                    self.last = result.sequence
                    self.journal.take(Told(
                        result.sequence, result.status, result.id, result.error.reason,
                        result.error.conflicting_id))
                assert response.results.committed_through == self.last
            else:
                self._check(response.summary, counts)

    def _check(self, summary, counts):
        told = (summary.created, summary.updated, summary.unchanged, summary.failed,
                summary.replayed)
        assert told == tuple(counts.get(status, 0) for status in range(1, 6)), (summary, counts)
        assert summary.total == sum(counts.values()), (summary, counts)
        assert summary.committed_through == self.last, (summary, self.last)

    def _place(self, committed):
        """The number of the contact to go on with."""
        if self.last is not None:
            return self.last + 1
        if self.chance.random() < 0.5:
            return committed + 1
        return self.chance.randint(max(1, committed - 3000), committed + 1)


class _Sending:
    """The requests of one call. A client that knows its place may begin before it is answered."""

    def __init__(self, client):
        self.client = client
        self.chance = random.Random(client.chance.random())
        # The number to begin with; None once the call is over.
        self.first = queue.SimpleQueue()
        # Some clients send contacts one by one, some by the thousand.
        self.most = self.chance.choice([10, 100, 500, 3000])
        # How far it runs ahead of the results.
        self.window = self.chance.choice([500, 2000, 8000, client.plan.count])
        self.is_over = False
        self.hurries = client.last is not None and self.chance.random() < 0.5

    def messages(self):
        options = {"import_id": self.client.import_id, "run_workflow": True}
        if self.hurries:
            first = self.client.last + 1
            yield self._message(first, **options)
            first += self.size
        else:
            yield request(**options)
            first = self.first.get()
        while first is not None and first <= self.client.plan.count and not self.is_over:
            yield self._message(first)
            first += self.size
            while first > self.client.last + self.window and not self.is_over:
                time.sleep(0.001)

    def end(self):
        self.is_over = True
        self.first.put(None)

    def _message(self, first, **options):
        end = first - 1 + self.chance.randint(1, self.most)
        contacts = self.client.plan.contacts[first - 1:end]
        self.size = len(contacts)
        self.client.journal.sent(first - 1 + self.size)
        return request(contacts, first, **options)


class InThread:
    """A client of this process. `stop` ends it as a process ends: nothing is remembered."""

    def __init__(self, *arguments):
        self.client = Client(*arguments)
        self.error = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.client.run()
        except BaseException as error:
            self.error = error

    def stop(self):
        self.client.stop()

    def wait(self, seconds):
        """Whether it has ended; raises what ended it."""
        self._thread.join(seconds)
        if self.error:
            raise self.error
        return not self._thread.is_alive()


class InProcess:
    """A client in a process of its own. `stop` kills it."""

    def __init__(self, address, workspace, import_id, seed, journal, chance):
        self.journal, self.error = journal, None
        self.process = subprocess.Popen(
            [sys.executable, __file__, address, workspace, import_id, str(seed),
             str(journal.count), str(chance.random())],
            cwd=REPOSITORY / "Tests" / "Foreign", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self._is_stopped = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for line in self.process.stdout:
                # The last line of a client that was killed may be half a line.
                if line.endswith("\n"):
                    read_line(line[:-1], self.journal)
            text = self.process.stderr.read()
            code = self.process.wait()
            assert code == 0 or self._is_stopped, text
        except BaseException as error:
            self.error = error

    def stop(self):
        self._is_stopped = True
        self.process.kill()

    def wait(self, seconds):
        self._thread.join(seconds)
        if self.error:
            raise self.error
        return not self._thread.is_alive()


def _write(line):
    # One write each: nothing of it is lost with the process.
    os.write(1, (line.replace("\n", " ") + "\n").encode())


if __name__ == "__main__":
    address, workspace, import_id, seed, count, chance = sys.argv[1:]
    Client(address, workspace, import_id, Plan(seed, int(count)), Lines(_write),
           random.Random(chance)).run()
