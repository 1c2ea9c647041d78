"""What attackers cost the server and its other clients, measured at full size.

    python attack_figures.py [--seconds 60] [--connections 50] [--contacts 500000] [NAME...]

needs CONTACTSD and CONTACTS, the two programs. Each attack of attacks.py runs alone, most on one
connection, then all but those on TLS run together, each on many connections. The attackers are a
process of their own with the least weight, since elsewhere they would not share the server's
processors; they still get a fifth of two. Prints a table; fails when a bound is broken.
"""

import argparse
import contextlib
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import grpc

import harness
from attacks import ATTACKS, TLS_ATTACKS
from certificates import Authority
from stubs import pb, rpc

CONTACTS = os.environ.get("CONTACTS", os.path.join(os.path.dirname(harness.CONTACTSD), "contacts"))

# Bounds. Milliseconds that a call may take in any case: the scheduler's share on two processors.
GROWTH_ALONE, MEMORY_ALL, P99_FACTOR, P99_FLOOR, THROUGHPUT_SHARE = 32, 300, 2.0, 15.0, 0.5
CALLS_PER_SECOND = 50


class Attacker:
    """One connection at a time, opened anew when the server ends it."""

    def __init__(self, attack, address):
        self.attack, self.address = attack, address
        self.opened = self.sent = 0
        self.socket = None
        self.next = 0.0
        self.unsent = memoryview(b"")

    def open(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.2", 0))
        # Else the kernel takes megabytes from the attacker, which is work that belongs elsewhere too.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self.socket.setblocking(False)
        code = self.socket.connect_ex(self.address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self.unsent = memoryview(self.attack.first())
        self.pieces = self.attack.pieces_of()
        self.opened += 1

    def close(self):
        if self.socket and self.attack.hangs_up:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.socket:
            self.socket.close()
        self.socket = None

    def step(self, now):
        """Whether there was something to do."""
        if now < self.next:
            return False
        try:
            if self.socket is None:
                self.open()
            if not self.unsent:
                self.unsent = memoryview(next(self.pieces, None) or b"")
                if not self.unsent and self.attack.pieces and not self.attack.pause:
                    return self.close() or True
                self.next = now + self.attack.pause
            count = self.socket.send(self.unsent)
            self.sent += count
            self.unsent = self.unsent[count:]
            if self.attack.reads or self.attack.pieces:
                self.read()
            return True
        except BlockingIOError:
            return self.read() if self.attack.reads else False
        except OSError:
            self.close()
            # The server hung up, or has no room.
            self.next = now + 0.01
            return True

    def read(self):
        try:
            if self.socket.recv(1 << 16):
                return True
        except BlockingIOError:
            return False
        except ConnectionError:
            pass
        self.close()
        return True


def attack(names, count, seconds, port):
    """In the attackers' process."""
    os.nice(19)
    attacks = ATTACKS | TLS_ATTACKS
    attackers = [Attacker(attacks[name], ("127.0.0.1", port)) for name in names for _ in range(count)]
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end and not stopped:
        if not any([attacker.step(now) for attacker in attackers]):
            time.sleep(0.002)
    print(json.dumps({"connections": sum(a.opened for a in attackers),
                      "mebibytes": sum(a.sent for a in attackers) / 2**20}))


class Attackers:
    """The process, from outside."""

    def __init__(self, names, count, seconds, port):
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--attack", "--seconds", str(seconds), "--connections",
             str(count), "--port", str(port), *names], stdout=subprocess.PIPE, text=True)

    def finish(self):
        self.process.terminate()
        return json.loads(self.process.communicate(timeout=120)[0])


class Honest:
    """Calls at a steady rate, on a connection of their own, timed from when they were due."""

    def __init__(self, server, authority=None):
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = (
            grpc.insecure_channel(server.address, options) if authority is None
            else grpc.secure_channel(server.address, grpc.ssl_channel_credentials(
                authority.certificate.read_bytes()), options))
        self.call = rpc.ContactServiceStub(self.channel).UpsertContacts
        self.number = 0
        self.run(0.5)

    def run(self, seconds):
        """The 99th percentile, in milliseconds."""
        times, begin = [], time.monotonic()
        for due in (begin + n / CALLS_PER_SECOND for n in range(int(seconds * CALLS_PER_SECOND))):
            time.sleep(max(0, due - time.monotonic()))
            self.number = (self.number + 1) % 100
            contact = pb.Contact(email=f"h{self.number}@honest.example", name="Honest")
            self.call(pb.UpsertContactsRequest(contacts=[contact]), timeout=30)
            times.append(time.monotonic() - due)
        return sorted(times)[int(len(times) * 0.99)] * 1000


class Memory(threading.Thread):
    """The most that the server held, in MiB."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server, self.most, self.over = server, server.memory("VmRSS"), threading.Event()
        self.start()

    def run(self):
        while not self.over.wait(0.1):
            self.most = max(self.most, self.server.memory("VmRSS"))

    def stop(self):
        self.over.set()
        self.join()
        return self.most


def alone(server, honest, name, seconds, failures):
    quiet = honest.run(min(seconds, 10))
    before, memory = server.memory("VmRSS"), Memory(server)
    count = (ATTACKS | TLS_ATTACKS)[name].at_once
    attackers = Attackers([name], count, 10 * seconds + 60, server.port)
    time.sleep(1)
    attacked = honest.run(seconds)
    told = attackers.finish()
    growth = memory.stop() - before
    time.sleep(1)
    after = honest.run(2)
    is_right = growth <= GROWTH_ALONE and max(attacked, after) <= max(P99_FACTOR * quiet, P99_FLOOR)
    if not is_right:
        failures.append(name)
    print(f"| {name} | {told['connections']} | {told['mebibytes']:.0f} | {growth:+.0f} |"
          f" {quiet:.1f} | {attacked:.1f} | {after:.1f} |{'' if is_right else ' BROKEN |'}", flush=True)


def each_alone(names, seconds, failures, authority=None, arguments=()):
    if not names:
        return
    # Which ends in order, or fails.
    with contextlib.closing(harness.Server(arguments=arguments)) as server:
        honest = Honest(server, authority)
        for name in names:
            alone(server, honest, name, seconds, failures)


def load(server, name, count):
    """New contacts a second by `contacts load`."""
    begin = time.monotonic()
    done = subprocess.run(
        [CONTACTS, "load", "--server", server.address, "--prefix", name, "--contacts", str(count)],
        capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return count / (time.monotonic() - begin)


def together(server, names, count, contacts, failures):
    load(server, "first", contacts)
    quiet = load(server, "quiet", contacts)
    memory = Memory(server)
    attackers = Attackers(names, count, 900, server.port)
    time.sleep(10)
    attacked = load(server, "attacked", contacts)
    told = attackers.finish()
    most = memory.stop()
    time.sleep(1)
    after = load(server, "after", contacts)
    print(f"\n{count} connections of each at once: {told['connections']} connections,"
          f" {told['mebibytes']:.0f} MiB sent; {most:.0f} MiB held at most; contacts a second:"
          f" {quiet:.0f} before, {attacked:.0f} meanwhile, {after:.0f} a second later")
    if attacked < THROUGHPUT_SHARE * quiet or after < THROUGHPUT_SHARE * quiet or most > MEMORY_ALL:
        failures.append("all at once")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--attack", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--contacts", type=int, default=500_000)
    parser.add_argument("names", nargs="*")
    told = parser.parse_args()
    names = told.names or list(ATTACKS | TLS_ATTACKS)
    if told.attack:
        return attack(names, told.connections, told.seconds, told.port)
    clear = [name for name in names if name in ATTACKS]
    secure = [name for name in names if name in TLS_ATTACKS]
    failures = []
    print("| attack | connections | MiB sent | memory, MiB | p99 before, ms | meanwhile | after |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        authority = Authority(directory)
        pair = authority.issue_server()
        each_alone(secure, told.seconds, failures, authority, [
            "--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)])
    each_alone(clear, told.seconds, failures)
    if clear:
        with contextlib.closing(harness.Server()) as server:
            together(server, clear, told.connections, told.contacts, failures)
    if failures:
        sys.exit(f"broken: {', '.join(failures)}")


if __name__ == "__main__":
    main()
