"""What the tests of single faults share: health, clients that resume, a database of little room."""

import contextlib
import os
import pathlib
import random
import subprocess
import time

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness import wait_until
from rig_client import InThread
from rig_journal import Journal
from stubs import pb
from test_database import Cluster

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health(server):
    return health_pb2_grpc.HealthStub(server.channel).Check(
        health_pb2.HealthCheckRequest(), timeout=10).status


def wait_for_health(server, status, seconds):
    """Fails unless it comes within so many seconds; returns how long it took."""
    begin = time.monotonic()
    wait_until(lambda: health(server) == status, seconds, f"the status {status}")
    return time.monotonic() - begin


class Contacts:
    """The contacts of an import, for a client of the rig: all of them new, none twice."""

    def __init__(self, name, count):
        self.count = count
        self.contacts = [
            pb.Contact(email=f"{name}-{n}@fault.example", name=f"n{n}", first_name="x" * 100)
            for n in range(1, count + 1)]


class Importing:
    """An import by a client that calls until all is answered."""

    def __init__(self, address, workspace, name, count):
        self.import_id, self.workspace = name, workspace
        self.plan = Contacts(name, count)
        self.journal = Journal(count)
        self.client = InThread(
            address, workspace, name, self.plan, self.journal, random.Random(name))

    @property
    def received(self):
        return self.journal.received_through

    def finish(self, seconds):
        assert self.client.wait(seconds), f"no end; {self.received} results, {self.journal.ends}"
        assert self.journal.is_complete
        return self

    def results(self):
        """The last that was told of each contact."""
        return {told.sequence: told for call in self.journal.calls for told in call.results}

    def check_stored(self, rows):
        """What was answered is stored. `rows`: of the workspace, by id, the email."""
        for told in self.results().values():
            email = self.plan.contacts[told.sequence - 1].email
            assert told.id and rows.get(told.id) == email, told


class SmallTablespace:
    """A database whose tables are on a file system of a few MiB; its log is elsewhere."""

    def __init__(self, mebibytes):
        self.cluster = Cluster()
        self.path = pathlib.Path(self.cluster.directory, "small")
        self.path.mkdir()
        self.log = pathlib.Path(self.cluster.directory, "log")
        try:
            mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", self.path],
                capture_output=True, text=True)
            if mounted.returncode != 0:
                pytest.skip(f"no right to mount: {mounted.stderr}")
            place = self.path / "tables"
            place.mkdir()
            owner = os.stat(f"{self.cluster.directory}/data")
            os.chown(place, owner.st_uid, owner.st_gid)
            self.cluster.run("psql", "-X", "-q", "-d", self.cluster.url, "-c",
                             f"CREATE TABLESPACE small LOCATION '{place}'", "-c",
                             "CREATE DATABASE small TABLESPACE small")
        except BaseException:
            self.close()
            raise
        self.url = self.cluster.url.replace("dbname=postgres", "dbname=small")

    def enlarge(self, mebibytes):
        subprocess.run(["mount", "-o", f"remount,size={mebibytes}m", self.path], check=True)

    def refusals(self):
        """How many statements found no room so far."""
        return self.log.read_text(errors="replace").count("No space left on device")

    def close(self):
        self.cluster.stop()
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", self.path], check=True, capture_output=True)
        self.cluster.close()
