"""Random rounds against a server, and the comparison of all that is seen with the model.

Streams of a round that share no keys must answer exactly as the model does. For those that share keys
some serial order must explain what was seen; the order of the events is the witness (see model_explain).
"""

import concurrent.futures
import dataclasses
import os
import random
import uuid

import grpc

import model
import model_explain
from harness import bulk, failing, field, get, metadata
from model import CREATED, FAILED, IDENTIFIERS, MATCH, UNCHANGED, UPDATED, Model
from stubs import pb

# What a server does not have yet, by name, for a run before it has: MODEL_WITHOUT=events,lists
PARTS = {"import_id", "labels", "id", "lists", "events", "validate_only", "export", "imports"}
WITHOUT = set(filter(None, os.environ.get("MODEL_WITHOUT", "").split(",")))
assert WITHOUT <= PARTS, WITHOUT - PARTS
HAS = PARTS - WITHOUT

KEYS = 6
COLUMNS = "id::text, email, phone, external_id, name, first_name, last_name, fields"
VALUES = [None, "", "text", "üñ", 5, 5.0, -0.0, 0.0, True, 1, 1.0, 2**63 - 1, 0.1,
          (1700000000, 0), (1700000000, 123456789)]


class Pool:
    """The keys that the streams of a round share, or that one stream has to itself."""

    def __init__(self, number):
        self.number = number

    def write(self, choice, name, key):
        """An identifier in one of its notations."""
        if name == "external_id":
            return f"{self.number}-X{key}"
        if name == "email":
            text = f"p{self.number}k{key}.ü@model.example"
            return choice.choice([
                text, text, text.upper(), f" {text}\t", f"\u00a0{text}\u3000",
                text.replace("ü", "u\u0308")])
        local = f"{self.number * 16 + key:04}"
        return choice.choice([
            f"+1617555{local}", f"+1 (617) 555-{local}", f"001.617.555.{local}", f"1 617 555 {local}",
            f"(617) 555-{local}"])


@dataclasses.dataclass
class Stream:
    """One import: what is sent and what came back."""

    options: pb.UpsertOptions
    contacts: list
    pool: int
    cuts: list
    unary: bool = False
    rehearse: bool = False
    import_id: str = ""
    results: list = None
    summary: object = None
    rehearsal: tuple = None

    def messages(self):
        start = 0
        for number, size in enumerate(self.cuts):
            message = pb.BulkUpsertRequest(contacts=self.contacts[start:start + size])
            if number % 2:
                message.first_sequence = start + 1
            if number == 0:
                message.options.CopyFrom(self.options)
            start += size
            yield message


class World:
    """A workspace, its model, and what was seen of it so far."""

    def __init__(self, server, seed):
        self.server, self.stub, self.seed = server, server.stub, seed
        self.choice = random.Random(seed)
        unique = self.choice.choice([
            ["email"], ["phone"], ["external_id"], ["email", "phone"], ["email", "external_id"],
            list(IDENTIFIERS), list(IDENTIFIERS)])
        self.workspace = server.create_workspace(",".join(unique))
        self.meta = metadata(self.workspace)
        self.model = Model(unique)
        self.pool_of = {}
        self.offset = 0
        self.contacts = 0
        self.round_number = 0
        self.readings = 0
        if "lists" in HAS:
            for number in range(3):
                made = self.stub.CreateList(
                    pb.CreateListRequest(name=f"list {number}"), metadata=self.meta, timeout=60)
                self.model.lists.add(made.list.id)

    # What is sent.

    def options(self, shared):
        choice = self.choice
        keys = sorted(self.model.unique)
        if "id" in HAS and len(self.pool_of) > 2:
            keys = keys * 2 + ["id"]
        key = choice.choice(keys)
        options = pb.UpsertOptions(
            match_by=next(number for number, name in MATCH.items() if name == key and number),
            write_mode=choice.choice([0, 1, 1, 2]),
            existence=choice.choice([0, 1, 1, 1, 2, 3]),
            default_dial_code=choice.choice(["", "1", "44"]))
        if key == "email" and choice.random() < 0.3:
            options.match_by = 0
        if key == "id" and options.existence == pb.EXISTENCE_CREATE_ONLY:
            options.existence = pb.EXISTENCE_UPSERT
        if "lists" in HAS and choice.random() < 0.3:
            options.list_ids.extend(choice.choices(sorted(self.model.lists) + [0], k=2))
        if "events" in HAS:
            options.run_workflow = shared or choice.random() < 0.5
        if "import_id" in HAS and choice.random() < 0.5:
            options.import_id = f"import {choice.getrandbits(64)}"
        if "labels" in HAS and choice.random() < 0.5:
            options.labels["ключ"] = str(choice.getrandbits(8))
        return options

    def contact(self, options, pool, known):
        choice = self.choice
        key = MATCH[options.match_by]
        contact = pb.Contact()
        for name in IDENTIFIERS:
            if name == key or choice.random() < 0.35:
                text = pool.write(choice, name, choice.randrange(KEYS))
                setattr(contact, name, text if name == key or choice.random() < 0.75 else "")
        if key == "id":
            other = str(uuid.UUID(int=choice.getrandbits(128), version=4))
            contact.id = choice.choice(known) if known and choice.random() < 0.9 else other
            if choice.random() < 0.2:
                contact.id = contact.id.upper()
        for name in model.NAMES:
            if choice.random() < 0.3:
                setattr(contact, name, choice.choice(["", "a", "b", "Zoë 李"]))
        for _ in range(choice.choice([0, 0, 1, 1, 2, 4])):
            contact.fields.append(self.custom())
        if "lists" in HAS and choice.random() < 0.15:
            contact.list_ids.extend(choice.choices(sorted(self.model.lists) + [0], k=2))
        while choice.random() < 0.1:
            self.spoil(contact, key)
        return contact

    def custom(self):
        name = self.choice.choice(["f", "g", "string--Test--Field"])
        value = self.choice.choice(VALUES)
        if isinstance(value, tuple):
            return field(name, timestamp_value={"seconds": value[0], "nanos": value[1]})
        return field(name, value)

    def spoil(self, contact, key):
        """Breaks one rule."""
        choice = self.choice
        what = choice.randrange(17)
        if what == 0:
            contact.ClearField(key)
        elif what == 1:
            setattr(contact, key, "")
        elif what == 2:
            contact.email = choice.choice(model.BAD_EMAILS)
        elif what == 3:
            contact.phone = choice.choice(model.BAD_PHONES)
        elif what == 4:
            contact.id = choice.choice(["not a uuid", "5f8b1a52-5d2f-4b43-9d1f-0c8f6a4b0d1"])
        elif what == 5:
            contact.id = "5f8b1a52-5d2f-4b43-9d1f-0c8f6a4b0d11"
        elif what == 6:
            setattr(contact, choice.choice(model.NAMES), "a\0b")
        elif what == 7:
            setattr(contact, choice.choice(model.NAMES), "x" * 1025)
        elif what == 8:
            contact.external_id = "x" * 256
        elif what == 9:
            contact.fields.append(field("", 1))
        elif what == 10:
            contact.fields.append(field("n" * 151, 1))
        elif what == 11:
            contact.fields.append(pb.CustomField(name="nothing"))
        elif what == 12:
            contact.fields.append(field("f", float(choice.choice(["nan", "inf", "-inf"]))))
        elif what == 13:
            contact.fields.append(field("f", "a\0b"))
        elif what == 14:
            contact.fields.extend(field(f"f{n}", n) for n in range(301))
        elif what == 15:
            contact.fields.append(field("big", "x" * 103_000))
        else:
            contact.list_ids.append(choice.choice([-1, 10**6, 2**63 - 1]))

    def stream(self, pool, shared, most):
        choice = self.choice
        options = self.options(shared)
        known = [self.model.ids[handle] for handle, number in self.pool_of.items()
                 if number == pool.number]
        count = choice.randint(1, most)
        contacts = [self.contact(options, pool, known) for _ in range(count)]
        cuts, left, largest = [], count, choice.choice([1, 3, count])
        while left:
            cuts.append(choice.randint(0 if cuts else 1, min(left, largest)))
            left -= cuts[-1]
        return Stream(
            options, contacts, pool.number, cuts, unary=choice.random() < 0.2,
            rehearse="validate_only" in HAS and not shared and choice.random() < 0.3)

    def send(self, stream):
        """One import, perhaps after a dry run of the same."""
        if stream.rehearse:
            dry = pb.UpsertOptions()
            dry.CopyFrom(stream.options)
            dry.validate_only = True
            dry.import_id = ""
            stream.rehearsal = self.call(stream, dry)
        stream.results, stream.summary, stream.import_id = self.call(stream, stream.options)

    def call(self, stream, options):
        if stream.unary:
            message = pb.UpsertContactsRequest(options=options, contacts=stream.contacts)
            answer = self.stub.UpsertContacts(message, metadata=self.meta, timeout=120)
            return list(answer.results), answer.summary, answer.import_id
        messages = list(stream.messages())
        messages[0].options.CopyFrom(options)
        outcome = bulk(self.stub, messages, self.workspace, timeout=120)
        assert outcome.code == grpc.StatusCode.OK, (outcome.code, outcome.details)
        return outcome.results, outcome.summary, outcome.started.import_id

    def play_round(self, most=60):
        """A few imports at once, and all comparisons."""
        self.round_number += 1
        shared = "events" in HAS and self.choice.random() < 0.4
        count = self.choice.randint(2, 4) if shared else self.choice.randint(1, 4)
        streams = [self.stream(Pool(0 if shared else number + 1), shared, most)
                   for number in range(count)]
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            list(pool.map(self.send, streams))
        self.contacts += sum(len(stream.contacts) for stream in streams)
        for stream in streams:
            self.check_shape(stream)
        events = self.read_events()
        if shared:
            model_explain.explain(self, streams, events)
        else:
            for stream in streams:
                self.check_exactly(stream, events.pop(stream.import_id, []))
            assert not events, f"events that nobody asked for: {events}"
        self.check_stored()
        for stream in streams:
            self.check_import(stream)
        for stream in streams:
            if stream.options.import_id and self.choice.random() < 0.3:
                self.repeat(stream)

    # What came back.

    def check_shape(self, stream):
        """Each contact once, in order; counts that agree; the dry run's words are the real run's."""
        assert [r.sequence for r in stream.results] == list(range(1, len(stream.contacts) + 1))
        check_counts(stream.summary, stream.results)
        if stream.rehearse:
            results, summary, import_id = stream.rehearsal
            told = [(r.sequence, r.status, r.error.reason, r.error.field) for r in results]
            done = [(r.sequence, r.status, r.error.reason, r.error.field) for r in stream.results]
            assert told == done, [pair for pair in zip(told, done) if pair[0] != pair[1]][:5]
            assert summary.failed_by_reason == stream.summary.failed_by_reason
            if "imports" in HAS:
                with failing(grpc.StatusCode.NOT_FOUND):
                    self.stub.GetImport(
                        pb.GetImportRequest(import_id=import_id), metadata=self.meta, timeout=60)

    def why(self, expected, result):
        """How an answer differs from what the model says; None: it does not."""
        if result.status != expected.status:
            return f"status {result.status}, not {expected}"
        if result.status == FAILED:
            error = result.error
            if result.id or not error.message or error.retryable:
                return "a failure's shape"
            for fault in expected.faults:
                conflicting = self.model.ids.get(fault.conflicting, "") if fault.conflicting else ""
                if (error.reason == fault.reason and error.field == (
                        error.field if fault.field is None else fault.field)
                        and error.conflicting_id == conflicting):
                    return None
            return f"not one of {expected.faults}"
        if result.HasField("error"):
            return "an error without a failure"
        if expected.status == CREATED:
            return None if result.id not in self.model.handles else "the id of another contact"
        return None if result.id == self.model.ids[expected.handle] else "another contact's id"

    def take(self, stream, number, expected):
        """Makes the model's new contact the server's."""
        if expected.status == CREATED:
            self.model.bind(expected.handle, stream.results[number].id)
            self.pool_of[expected.handle] = stream.pool

    def check_exactly(self, stream, events):
        """The answers and events are those of one contact after another. Contacts that share nothing
        may commit in any order, so events are compared contact by contact."""
        expected_events = {}
        for number, contact in enumerate(stream.contacts):
            expected = self.model.apply(contact, stream.options)
            different = self.why(expected, stream.results[number])
            assert not different, (
                f"sequence {number + 1} of {options_text(stream)}: {different}\n"
                f"sent: {str(contact)[:2000]}\nanswered: {stream.results[number]}")
            self.take(stream, number, expected)
            if expected.event and stream.options.run_workflow:
                id_ = self.model.ids[expected.handle]
                expected_events.setdefault(id_, []).append(expected.event)
        seen = {}
        for event in events:
            seen.setdefault(event.contact_id, []).append(event_of(event))
        assert seen == expected_events, f"events of {options_text(stream)}"

    def read_events(self):
        """The events of the round by import, in the order of their offsets. A contact of its own, sent
        last, ends them."""
        if "events" not in HAS:
            return {}
        name = sorted(self.model.unique)[0]
        options = pb.UpsertOptions(
            match_by=next(n for n, key in MATCH.items() if key == name and n), run_workflow=True)
        self.readings += 1
        last = pb.Contact(fields=[field("reading", self.readings)])
        setattr(last, name, {"email": "last@model.example", "phone": "+16175559999"}.get(name, "last"))
        answer = self.stub.UpsertContacts(
            pb.UpsertContactsRequest(options=options, contacts=[last]), metadata=self.meta, timeout=60)
        call = self.stub.WatchEvents(
            pb.WatchEventsRequest(after_offset=self.offset), metadata=self.meta, timeout=60)
        events = {}
        for event in (event for response in call for event in response.events):
            assert event.offset > self.offset
            self.offset = event.offset
            assert event.HasField("occurred_at") and event.record.HasField("created_at")
            events.setdefault(event.import_id, []).append(event)
            if event.import_id == answer.import_id:
                break
        call.cancel()
        mine = Stream(options, [last], -1, [1], results=list(answer.results))
        # The contact shares nothing with any other: the model may have it before the round.
        self.check_exactly(mine, events.pop(answer.import_id))
        return events

    def check_stored(self):
        """The tables, the look-ups and the exports are the model's."""
        ids, rows = self.model.ids, self.model.rows
        place = "workspace_id = (SELECT id FROM workspaces WHERE name = %s)"
        expected = {ids[handle]: (*(getattr(row, name) for name in model.STANDARD), model.json_of(row))
                    for handle, row in rows.items()}
        stored = {row[0]: row[1:] for row in self.server.rows(self.workspace, COLUMNS)}
        assert stored == expected
        if "lists" in HAS:
            members = self.server.query(
                f"SELECT contact_id::text, list_id FROM list_members WHERE {place}", self.workspace)
            assert sorted(members) == sorted(
                (ids[handle], number) for handle, row in rows.items() for number in row.lists)
        keys = [{"id": str(uuid.UUID(int=7))}, {"email": "no@model.example"}]
        found = [None, None]
        for handle in self.choice.sample(sorted(rows), min(8, len(rows))):
            keys.append({"id": ids[handle]})
            found.append(handle)
            for name in IDENTIFIERS:
                if getattr(rows[handle], name):
                    keys.append({name: getattr(rows[handle], name)})
                    found.append(self.model.lowest(name, getattr(rows[handle], name)))
        for key, handle, entry in zip(keys, found, get(self.stub, *keys, workspace=self.workspace)):
            assert entry.found == (handle is not None), key
            if handle is not None:
                self.check_record(entry.record, handle)
        if "export" in HAS:
            for list_id in {0, self.choice.choice(sorted(self.model.lists | {0}))}:
                wanted = sorted((ids[handle], handle) for handle, row in rows.items()
                                if not list_id or list_id in row.lists)
                chunks = self.stub.ExportContacts(
                    pb.ExportContactsRequest(list_id=list_id), metadata=self.meta, timeout=60)
                records = [record for chunk in chunks for record in chunk.records]
                assert [record.contact.id for record in records] == [id_ for id_, _ in wanted]
                for record, (_, handle) in zip(records, wanted):
                    self.check_record(record, handle)

    def check_record(self, record, handle):
        assert record.contact.id == self.model.ids[handle]
        assert model.row_of(record.contact) == self.model.rows[handle]
        assert record.created_at.ToNanoseconds() <= record.updated_at.ToNanoseconds()

    def check_import(self, stream):
        if "imports" not in HAS:
            return
        found = getattr(self.stub.GetImport(
            pb.GetImportRequest(import_id=stream.import_id), metadata=self.meta, timeout=60), "import")
        assert found.import_id == stream.import_id
        assert found.state == pb.IMPORT_STATE_FINISHED
        check_counts(found.summary, stream.results)
        assert found.options.labels == stream.options.labels
        assert found.options.run_workflow == stream.options.run_workflow
        assert MATCH[found.options.match_by] == MATCH[stream.options.match_by]

    def repeat(self, stream):
        """The whole import once more changes nothing."""
        messages = list(stream.messages())
        messages[0].first_sequence = 1
        again = bulk(self.stub, messages, self.workspace, timeout=120)
        assert again.code == grpc.StatusCode.OK, (again.code, again.details)
        assert again.started.resumed
        assert again.started.committed_through == len(stream.contacts)
        for contact, first, result in zip(stream.contacts, stream.results, again.results, strict=True):
            assert first.sequence == result.sequence
            if first.status == FAILED:
                assert result == first, (contact, first, result)
            else:
                assert result.status == pb.UPSERT_STATUS_REPLAYED, (contact, first, result)
                holder = self.model.find(contact, stream.options)
                assert result.id == self.model.ids.get(holder, ""), (contact, first, result)
        assert not self.read_events()
        self.check_stored()


def check_counts(summary, results):
    """The counts of an import, over all its calls or in one."""
    statuses = [result.status for result in results]
    reasons = {}
    for result in results:
        if result.status == FAILED:
            reasons[result.error.reason] = reasons.get(result.error.reason, 0) + 1
    assert (summary.total, summary.replayed, summary.committed_through) == (
        len(results), 0, len(results)), summary
    assert (summary.created, summary.updated, summary.unchanged, summary.failed) == tuple(
        statuses.count(status) for status in (CREATED, UPDATED, UNCHANGED, FAILED)), summary
    assert dict(summary.failed_by_reason) == reasons


def event_of(event):
    assert event.record.contact.id == event.contact_id
    return event.type, model.row_of(event.record.contact)


def options_text(stream):
    return " ".join(str(stream.options).split())
