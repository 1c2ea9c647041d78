"""A database, servers in front of it, and proxies on both sides, all of which can be broken."""

import contextlib
import os
import pathlib
import signal
import subprocess
import threading
import time

import harness
from rig_proxy import Proxy
from test_database import Cluster

# Temporary tables of backends that were killed are removed by autovacuum.
DATABASE_SETTINGS = ("-c fsync=off -c max_connections=60 -c log_min_messages=panic"
                     " -c autovacuum_naptime=1")


class Database(Cluster):
    """A PostgreSQL whose processes the rig knows. It does not wait for the disk; the kernel keeps
    what its processes wrote, so that killing these loses nothing."""

    def start(self):
        self.run("pg_ctl", "-D", f"{self.directory}/data", "-w", "-l", f"{self.directory}/log",
                 "-o", f"-c listen_addresses= -c unix_socket_directories={self.directory}"
                 f" {DATABASE_SETTINGS}", "start")

    def postmaster(self):
        text = pathlib.Path(self.directory, "data", "postmaster.pid").read_text()
        return int(text.split()[0])

    def children(self):
        """(process, title) of each process that the postmaster has begun."""
        try:
            found = []
            pid = self.postmaster()
            text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
            for child in map(int, text.split()):
                title = pathlib.Path(f"/proc/{child}/cmdline").read_bytes()
                found.append((child, title.replace(b"\0", b" ").decode(errors="replace")))
            return found
        except (OSError, ValueError, IndexError):
            return []

    def backends(self):
        """The processes that serve connections."""
        return [pid for pid, title in self.children() if "postgres: postgres postgres" in title]


class Site:
    """One database, one server or more. Clients come through `front`, servers reach the database
    through `back`."""

    def __init__(self, lanes=2):
        self.lanes = lanes
        self.database = Database()
        self.back = Proxy([f"{self.database.directory}/.s.PGSQL.5432"], seed=1)
        self.front = Proxy([], seed=2)
        self.url = (f"host=127.0.0.1 port={self.back.port} user=postgres dbname=postgres"
                    " sslmode=disable gssencmode=disable")
        self.servers = []
        # Told to end, and still at it.
        self.ending = []
        # They will end by themselves.
        self.doomed = []
        # Held while servers come and go; while the database does.
        self.changing_servers = threading.RLock()
        self.changing_database = threading.RLock()
        self.start_server()

    def start_server(self, port=0, failure_point=None):
        """One with a failure point ends by itself."""
        server = harness.Server(
            database_url=self.url, lanes=self.lanes, up="(?:ready|listening)",
            arguments=["--listen", f"127.0.0.1:{port}"] if port else [],
            variables={"CONTACTSD_FAILURE_POINT": failure_point} if failure_point else {})
        (self.doomed if failure_point else self.servers).append(server)
        self._aim()
        return server

    def watch_for_its_end(self, server, seconds):
        """Ends a server that does not come to its failure point."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.process.wait(seconds)
        server.process.kill()
        assert server.process.wait() == -signal.SIGKILL
        server.channel.close()
        self.doomed.remove(server)
        self._aim()

    def _aim(self):
        self.front.targets = [
            ("127.0.0.1", server.port) for server in self.servers + self.doomed]

    def kill_server(self, server):
        self._remove(server)
        server.process.kill()
        server.process.wait()

    def end_server(self, server):
        """As a supervisor does. What it had taken is committed and answered."""
        self.ending.append(server)
        self._remove(server)
        server.terminate()
        code = server.wait(60)
        self.ending.remove(server)
        assert code == 0, f"exit code {code} after SIGTERM:\n" + "".join(server.log[-20:])

    def _remove(self, server):
        server.channel.close()
        self.servers.remove(server)
        self._aim()

    def check_alive(self):
        """No server has ended by itself."""
        for server in self.servers:
            code = server.process.poll()
            assert code is None, f"a server ended, {code}:\n" + "".join(server.log[-20:])

    def connect(self):
        """A connection past the proxy."""
        return harness.psycopg.connect(self.database.url, autocommit=True)

    def query(self, sql, *parameters):
        with self.connect() as connection:
            return connection.execute(sql, parameters or None).fetchall()

    def repair(self):
        """After a run that failed: one server, and all passes."""
        self.front.restore()
        self.back.restore()
        for server in self.servers + self.ending + self.doomed:
            server.process.kill()
            server.process.wait()
            server.channel.close()
        self.servers, self.ending, self.doomed = [], [], []
        self.start_server()

    def close(self):
        try:
            for server in self.servers:
                server.close()
        finally:
            for server in self.servers + self.ending + self.doomed:
                server.process.kill()
            self.front.close()
            self.back.close()
            self.database.close()

    # What is open.

    def level(self):
        """What has to come back to where it was, by name."""
        level = {name: count for name, count in self.query(LEVEL)}
        level["front connections"] = self.front.connection_count()
        level["back connections"] = self.back.connection_count()
        for number, server in enumerate(self.servers):
            process = pathlib.Path(f"/proc/{server.pid}")
            level[f"threads {number}"] = len(list((process / "task").iterdir()))
            level[f"descriptors {number}"] = len(list((process / "fd").iterdir()))
        return level

    def wait_for_level(self, before, seconds=20):
        """Fails when something stays above its level."""
        def above():
            found = self.level()
            return {name: (count, before.get(name, 0)) for name, count in found.items()
                    if count > before.get(name, 0)}
        end = time.monotonic() + seconds
        while left := above():
            assert time.monotonic() < end, (
                f"above the level before after {seconds} s: {left}\n{self.open_sessions()}")
            time.sleep(0.1)

    def open_sessions(self):
        return "\n".join(str(row) for row in self.query(
            "SELECT pid, application_name, state, wait_event, now() - state_change, left(query, 90)"
            " FROM pg_stat_activity WHERE datname = current_database()"))


LEVEL = """
    SELECT 'sessions', count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()
    UNION ALL SELECT 'open transactions', count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
    UNION ALL SELECT 'advisory locks', count(*) FROM pg_locks WHERE locktype = 'advisory'
    UNION ALL SELECT 'other locks', count(*) FROM pg_locks
        WHERE locktype <> 'advisory' AND pid <> pg_backend_pid()
    UNION ALL SELECT 'prepared transactions', count(*) FROM pg_prepared_xacts
    UNION ALL SELECT 'temporary tables', count(*) FROM pg_class
        WHERE relpersistence = 't' AND relkind = 'r'
    UNION ALL SELECT 'replication slots', count(*) FROM pg_replication_slots
"""


def signal_process(pid, number):
    """Whether it was there."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def pause(pids, seconds):
    """Stops processes for a while."""
    stopped = [pid for pid in pids if signal_process(pid, signal.SIGSTOP)]
    try:
        time.sleep(seconds)
    finally:
        for pid in stopped:
            signal_process(pid, signal.SIGCONT)
