"""A TCP proxy in front of PostgreSQL's unix socket, which meddles with the COMMITs of the lanes."""

import enum
import os
import signal
import socket
import struct
import threading

# Of PostgreSQL's protocol: where a Bind message names the lanes' statement, which its type, length
# and portal come before; and the answer to it.
COMMIT = b"\0commit\0"
COMMIT_START = 5
COMMITTED = b"C\0\0\0\x0bCOMMIT\0"
BACKEND_KEY = b"K\0\0\0\x0c"


class Fate(enum.Enum):
    """What becomes of a COMMIT."""

    # It only has to wait.
    PASSED = 0
    # It never reaches the database, which rolls back.
    LOST = 1
    # It succeeds, and nobody hears of it.
    ANSWER_LOST = 2
    # Its backend is killed as soon as it has it; all other connections break too.
    KILLED = 3
    # It never reaches the database, and nothing passes on its connection any more, which stays open.
    SWALLOWED = 4
    # It succeeds, and then the same.
    ANSWER_SWALLOWED = 5


class CommitProxy:
    def __init__(self, directory):
        """`directory` has the socket of a PostgreSQL at port 5432."""
        self._path = f"{directory}/.s.PGSQL.5432"
        # Set once the COMMIT that `strike` means has come; of ANSWER_LOST, once it has succeeded.
        self.reached = threading.Event()
        # It is held until this is set.
        self.go_on = threading.Event()
        self.closed = threading.Event()
        # The fates so far.
        self.struck = []
        self._next = None
        self._deciding = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = (f"host=127.0.0.1 port={self._listener.getsockname()[1]} user=postgres"
                    " dbname=postgres sslmode=disable gssencmode=disable")
        threading.Thread(target=self._accept, daemon=True).start()

    def strike(self, fate):
        """Holds the next COMMIT of a lane, and gives it this fate. Others pass."""
        with self._deciding:
            self.reached.clear()
            self.go_on.clear()
            self._next = fate

    def take_fate(self):
        """The fate of a COMMIT that has come, if `strike` means it."""
        with self._deciding:
            fate, self._next = self._next, None
            if fate:
                self.struck.append(fate)
            return fate

    def hold(self):
        self.reached.set()
        self.go_on.wait()

    def close(self):
        self.go_on.set()
        self.closed.set()
        # A thread that waits in accept() would keep the socket.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            database = socket.socket(socket.AF_UNIX)
            try:
                database.connect(self._path)
            except OSError:
                client.close()
                database.close()
                continue
            _Link(self, client, database)


class _Link:
    """One connection. Either direction has a thread, and ends the other with it."""

    def __init__(self, proxy, client, database):
        self.proxy, self.client, self.database = proxy, client, database
        self.is_lane = False
        self.backend = None
        self.fate = None
        threads = [threading.Thread(target=self._run, args=(way,), daemon=True)
                   for way in (self._to_database, self._to_client)]
        for thread in threads:
            thread.start()
        threading.Thread(target=self._close, args=(threads,), daemon=True).start()

    def _run(self, way):
        try:
            way()
        except OSError:
            pass
        for end in (self.client, self.database):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _close(self, threads):
        for thread in threads:
            thread.join()
        self.client.close()
        self.database.close()

    def _to_database(self):
        while data := self.client.recv(65536):
            if b"contactsd lane" in data:
                self.is_lane = True
            # It is the last statement of what a lane sends together.
            place = data.find(COMMIT) if self.is_lane and b"P" != data[:1] else -1
            if place >= 0:
                self.fate = self.proxy.take_fate()
                if self.fate and self.fate not in (Fate.ANSWER_LOST, Fate.ANSWER_SWALLOWED):
                    self.proxy.hold()
            if self.fate in (Fate.LOST, Fate.SWALLOWED):
                self.database.sendall(data[:place - COMMIT_START])
                if self.fate is Fate.SWALLOWED:
                    self.proxy.closed.wait()
                return
            self.database.sendall(data)
            if self.fate is Fate.KILLED:
                os.kill(self.backend, signal.SIGKILL)
                return

    def _to_client(self):
        while data := self.database.recv(65536):
            if self.backend is None and BACKEND_KEY in data:
                start = data.index(BACKEND_KEY) + len(BACKEND_KEY)
                self.backend, = struct.unpack_from("!i", data, start)
            if self.fate in (Fate.ANSWER_LOST, Fate.ANSWER_SWALLOWED) and COMMITTED in data:
                self.proxy.hold()
                if self.fate is Fate.ANSWER_SWALLOWED:
                    self.proxy.closed.wait()
                return
            if self.fate is Fate.SWALLOWED:
                self.proxy.closed.wait()
                return
            self.client.sendall(data)
