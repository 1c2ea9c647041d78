"""What the clients of one import were told: checked as it comes, and by the model at the end."""

import dataclasses
import threading

from harness import CREATED, FAILED, UNCHANGED, UPDATED
from stubs import pb

REPLAYED = pb.UPSERT_STATUS_REPLAYED


@dataclasses.dataclass
class Told:
    """One result."""

    sequence: int
    status: int
    id: str = ""
    reason: str = ""
    conflicting: str = ""


@dataclasses.dataclass
class Call:
    """One BulkUpsert call: where it could go on, where it did, what was sent before, what came."""

    committed: int
    first: int
    sent_before: int
    results: list = dataclasses.field(default_factory=list)


class Journal:
    """Survives the clients. Written by one client at a time, read by all."""

    def __init__(self, count):
        self.count = count
        self.calls = []
        # How the calls ended: (code, details).
        self.ends = []
        # The last contact that any client handed to its library, or has a result of.
        self.sent_through = 0
        self.received_through = 0
        self.is_complete = False
        # Where the client that writes now goes on; None: it knows nothing.
        self.last = None
        self.changed = threading.Condition()
        self._sent_before = 0

    def client_started(self):
        self.last = None

    def sent(self, through):
        with self.changed:
            self.sent_through = max(self.sent_through, through)

    def call_begins(self):
        """What was sent so far may be decided by an earlier call; what comes now not."""
        self._sent_before = self.sent_through

    def started(self, committed, first):
        """`first`: the number of the first contact that the call sends."""
        told = max([self.received_through, *(call.committed for call in self.calls)])
        assert committed >= told, f"committed_through {committed} after {told}"
        assert 1 <= first <= committed + 1, (first, committed)
        assert self.last is None or first == self.last + 1, (first, self.last)
        self.last = first - 1
        self.calls.append(Call(committed, first, self._sent_before))

    def take(self, told):
        assert told.sequence == self.last + 1, f"result {told.sequence} after {self.last}"
        assert told.sequence <= self.sent_through, f"result {told.sequence} of nothing"
        self.last = told.sequence
        self.calls[-1].results.append(told)
        with self.changed:
            self.received_through = max(self.received_through, told.sequence)
            self.changed.notify_all()

    def ended(self, code, details):
        """`code`: the name of the status."""
        self.ends.append((code, details))
        assert code in ("OK", "UNAVAILABLE", "ABORTED", "CANCELLED"), (code, details)
        if code == "OK":
            assert self.last == self.count, f"OK after result {self.last}"
            self.is_complete = True

    def wait_for(self, sequence, is_called_off):
        """Returns once this result came."""
        with self.changed:
            self.changed.wait_for(lambda: self.received_through >= sequence or is_called_off())

    # The end.

    def check(self, plan, outcome, ids):
        """All that was told is what the model says. `ids`: of the stored contacts, by email."""
        assert self.is_complete
        deciding = {}
        for number, call in enumerate(self.calls):
            for told in call.results:
                self._check_result(call, told, plan, outcome, ids)
                if told.status in (CREATED, UPDATED, UNCHANGED):
                    earlier = deciding.setdefault(told.sequence, number)
                    assert earlier == number, (
                        f"{told} in call {number}, after call {earlier} had decided it")

    def _check_result(self, call, told, plan, outcome, ids):
        status, reason = outcome.expected[told.sequence]
        item = plan.items[told.sequence - 1]
        place = f"{told} of a call from {call.first}, committed {call.committed}: {item}"
        if status == FAILED:
            assert (told.status, told.reason, told.id) == (FAILED, reason, ""), place
            assert told.conflicting == ids.get(item.owner, ""), place
            return
        assert told.id == ids[item.email], f"{place}, id {ids[item.email]}"
        if told.sequence <= call.committed:
            assert told.status == REPLAYED, place
        elif told.status == REPLAYED:
            assert told.sequence <= call.sent_before, place
        else:
            assert told.status == status, f"{place}, not {status}"


class Lines:
    """A journal of a client in another process: what it learns, a line each."""

    def __init__(self, write):
        self._write = write

    def client_started(self):
        self._write("client_started")

    def sent(self, through):
        self._write(f"sent {through}")

    def call_begins(self):
        self._write("call_begins")

    def started(self, committed, first):
        self._write(f"started {committed} {first}")

    def take(self, told):
        self._write(f"take {told.sequence} {told.status} {told.id or '-'} {told.reason or '-'}"
                    f" {told.conflicting or '-'}")

    def ended(self, code, details):
        self._write(f"ended {code} {details}")


def read_line(line, journal):
    """Enters a line of `Lines` into a journal."""
    name, *words = line.split(" ")
    if name == "sent":
        journal.sent(int(words[0]))
    elif name == "started":
        journal.started(int(words[0]), int(words[1]))
    elif name == "take":
        id_, reason, conflicting = ("" if word == "-" else word for word in words[2:])
        journal.take(Told(int(words[0]), int(words[1]), id_, reason, conflicting))
    elif name == "ended":
        journal.ended(words[0], " ".join(words[1:]))
    else:
        {"client_started": journal.client_started, "call_begins": journal.call_begins}[name]()
