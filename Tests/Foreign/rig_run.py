"""One import through its faults, and all that must hold afterwards."""

import random
import time

import grpc

from harness import FAILED, metadata
from rig_client import InProcess, InThread
from rig_faults import Striking, planned
from rig_journal import REPLAYED, Journal
from rig_plan import Item, Plan, Written, outcome
from rpcs import events_so_far, get_import
from stubs import pb, rpc

LIMIT = 90
# How long after the last fault results may be missing.
SILENCE = 15
# The contact that `events_so_far` writes.
MARK = "last@events.example"


class Run:
    def __init__(self, site, seed, count, faults=None):
        self.site, self.seed = site, seed
        self.chance = random.Random(f"run {seed}")
        self.plan = Plan(seed, count)
        self.journal = Journal(count)
        self.import_id = f"import {seed}"
        self.faults = planned(seed, count) if faults is None else faults
        # Whether its clients are processes.
        self.in_processes = self.chance.random() < 0.3
        self.others = []
        self.rivals = 0
        self.client = None

    def play(self):
        """Raises what is wrong."""
        self.workspace = self.site.servers[0].create_workspace("email,phone")
        self.write(self.plan.owners)
        self.client = self._new_client()
        striking = Striking(self, self.faults)
        try:
            self._drive(striking)
            striking.finish()
            if self.rivals:
                # One may have come after the end; the last call has to be half-closed.
                self.journal.is_complete = False
                self.client = self._new_client()
                self._drive(striking)
        finally:
            self.client.stop()
            striking.finish()
            for line in striking.log:
                print(line)
            print(f"ends: {self.journal.ends}")
            for call in self.journal.calls:
                print(f"a call from {call.first}, committed {call.committed}, sent before"
                      f" {call.sent_before}, {len(call.results)} results")
            for other in self.others:
                print(f"{other.import_id}: {len(other.items)} contacts after {other.after}")
        striking.check()

    def _drive(self, striking):
        """Starts client after client until the import is answered."""
        end = time.monotonic() + LIMIT
        seen, since = 0, time.monotonic()
        while not self.journal.is_complete:
            if self.client.wait(0.05) and not self.journal.is_complete:
                if self.chance.random() < 0.7:
                    self.write_something()
                self.client = self._new_client()
            self.site.check_alive()
            if self.journal.received_through != seen or not striking.is_over:
                seen, since = self.journal.received_through, time.monotonic()
            assert time.monotonic() < since + SILENCE, f"no result after {seen} for {SILENCE} s"
            assert time.monotonic() < end, f"no end within {LIMIT} s"

    def _new_client(self):
        chance = random.Random(self.chance.random())
        if self.in_processes:
            return InProcess(self.site.front.address, self.workspace, self.import_id, self.seed,
                             self.journal, chance)
        return InThread(self.site.front.address, self.workspace, self.import_id, self.plan,
                        self.journal, chance)

    # The other writer.

    def write_something(self):
        """Changes contacts of the import whose fate is known: all that were sent are answered. So
        it is known what comes before the change and what after it."""
        received, sent = self.journal.received_through, self.journal.sent_through
        known = [email for email, places in self.plan.places.items()
                 if not any(received < place <= sent for place in places)]
        number = len(self.others)
        items = [Item(email, f"other {number}", (("f0", -number),))
                 for email in self.chance.sample(known, min(50, len(known)))]
        # Nobody has these phone numbers any more, so those who asked for them could have them now.
        free = [owner for owner, place in self.plan.asked.items() if place <= received]
        items += [Item(email, "owner", phone="") for email in free[-5:]]
        self.write(items, sent)

    def write(self, items, after=0):
        """By an import of its own, repeated until it is answered."""
        written = Written(f"other {len(self.others)} of {self.seed}", after, items)
        options = pb.UpsertOptions(import_id=written.import_id, run_workflow=True)
        message = pb.UpsertContactsRequest(
            options=options, contacts=[item.contact() for item in items])
        end = time.monotonic() + 40
        while written.results is None:
            try:
                with grpc.insecure_channel(self.site.front.address) as channel:
                    written.results = list(rpc.ContactServiceStub(channel).UpsertContacts(
                        message, metadata=metadata(self.workspace), timeout=20).results)
            except grpc.RpcError as error:
                codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
                assert error.code() in codes, (error.code(), error.details())
                assert time.monotonic() < end, error.details()
                time.sleep(0.05)
        self.others.append(written)

    # The end.

    def check(self):
        found = outcome(self.plan, self.import_id, self.others)
        stored = {}
        for email, *rest in self.site.query(
                "SELECT email, id::text, name, phone, fields FROM contacts WHERE workspace_id ="
                " (SELECT id FROM workspaces WHERE name = %s)", self.workspace):
            if email != MARK:
                stored[email] = rest
        self._check_table(found, stored)
        ids = {email: row[0] for email, row in stored.items()}
        self.journal.check(self.plan, found, ids)
        self._check_others(found, ids)
        if not self.rivals:
            assert not [end for end in self.journal.ends if end[0] == "ABORTED"]
        with grpc.insecure_channel(self.site.servers[0].address) as channel:
            stub = rpc.ContactServiceStub(channel)
            self._check_import(found, get_import(stub, self.workspace, self.import_id))
            self._check_events(found, ids, events_so_far(stub, self.workspace))

    def _check_table(self, found, stored):
        expected = {email: (row.name, row.phone, dict(row.fields))
                    for email, row in found.rows.items()}
        table = {email: tuple(row[1:]) for email, row in stored.items()}
        different = sorted(email for email in expected.keys() | table.keys()
                           if expected.get(email) != table.get(email))
        assert not different, "".join(
            f"\n{email}: {table.get(email)}, not {expected.get(email)};"
            f" contacts {self.plan.places.get(email)}" for email in different[:10])

    def _check_others(self, found, ids):
        for other in self.others:
            for place, (item, result) in enumerate(zip(other.items, other.results, strict=True), 1):
                what = f"{other.import_id}, {item}: {result}"
                expected = found.others[other.import_id][place]
                assert result.sequence == place, what
                assert result.status in (expected, REPLAYED), f"{what}, not {expected}"
                assert result.status == FAILED or result.id == ids[item.email], what

    def _check_import(self, found, told):
        assert told.state == pb.IMPORT_STATE_FINISHED, told
        summary = told.summary
        counts = [summary.created, summary.updated, summary.unchanged, summary.failed]
        expected = [found.count(status) for status in range(1, 5)]
        assert counts == expected, f"{summary}, not {expected}"
        assert summary.total == summary.committed_through == self.plan.count, summary
        assert dict(summary.failed_by_reason) == found.reasons(), summary

    def _check_events(self, found, ids, events):
        offsets = [event.offset for event in events]
        assert offsets == sorted(set(offsets))
        told = {}
        for event in events:
            contact = event.record.contact
            assert event.contact_id == contact.id == ids[contact.email], event
            row = (contact.name, contact.phone or None,
                   {field.name: field.integer_value for field in contact.fields})
            told.setdefault(contact.email, []).append((event.type, event.import_id, row))
        expected = {email: [(kind, import_id, (row.name, row.phone, dict(row.fields)))
                            for kind, import_id, row in changes]
                    for email, changes in found.events.items()}
        different = sorted(email for email in expected.keys() | told.keys()
                           if expected.get(email) != told.get(email))
        assert not different, "".join(
            f"\nevents of {email}: {told.get(email)}\nexpected: {expected.get(email)}"
            for email in different[:5])
