"""The check of model_explain itself: it accepts what a correct server does, and notices what is wrong."""

import random

import pytest

import model_world
from model import FAILED, UNCHANGED, Model
from model_explain import explain
from model_world import Pool, World
from stubs import pb


class Simulated(World):
    """A world whose server is the model: streams take turns, each in its own order."""

    def __init__(self, seed):
        self.choice = random.Random(seed)
        self.model = Model(["email", "phone"], [1, 2])
        self.truth = Model(["email", "phone"], [1, 2])
        self.pool_of, self.offset = {}, 0

    def options(self, shared):
        options = super().options(shared)
        options.run_workflow = True
        return options

    def play(self):
        streams = [self.stream(Pool(0), True, 40) for _ in range(3)]
        events = {}
        for number, stream in enumerate(streams):
            stream.import_id, stream.results = str(number), []
        turns = [stream for stream in streams for _ in stream.contacts]
        self.choice.shuffle(turns)
        for stream in turns:
            contact = stream.contacts[len(stream.results)]
            expected = self.truth.apply(contact, stream.options)
            result = pb.ContactResult(sequence=len(stream.results) + 1, status=expected.status)
            if expected.handle:
                result.id = f"{expected.handle:08}-0000-0000-0000-000000000000"
                if result.id not in self.truth.handles:
                    self.truth.bind(expected.handle, result.id)
            if expected.status == FAILED:
                fault = expected.faults[0]
                result.error.reason, result.error.field = fault.reason, fault.field or ""
                result.error.message = "x"
                result.error.conflicting_id = self.truth.ids.get(fault.conflicting, "")
            stream.results.append(result)
            if expected.event:
                self.offset += 1
                kind, row = expected.event
                events.setdefault(stream.import_id, []).append(pb.ContactEvent(
                    offset=self.offset, type=kind, contact_id=result.id, import_id=stream.import_id,
                    record=pb.ContactRecord(contact=contact_of(result.id, row))))
        return streams, events


def contact_of(id_, row):
    contact = pb.Contact(id=id_, list_ids=sorted(row.lists))
    for name in ("email", "phone", "external_id", "name", "first_name", "last_name"):
        if getattr(row, name):
            setattr(contact, name, getattr(row, name))
    for name, kind, value in row.fields:
        custom = contact.fields.add(name=name)
        if kind == "timestamp_value":
            custom.timestamp_value.seconds, custom.timestamp_value.nanos = value[0], value[1] * 1000
        else:
            setattr(custom, kind, value)
    return contact


def of_some(answers):
    return random.Random(1).choice(answers)


def lose_an_event(streams, events):
    found = of_some([found for found in events.values() if found])
    found.pop(len(found) // 2)


def swap_two_events(streams, events):
    """Of one contact, two in a row: the rows that they tell then come in the wrong order."""
    in_order = sorted((e for found in events.values() for e in found), key=lambda e: e.offset)
    last = {}
    for event in in_order:
        before = last.get(event.contact_id)
        if before is not None and before.record != event.record:
            before.offset, event.offset = event.offset, before.offset
            return
        last[event.contact_id] = event
    pytest.skip("no contact changed twice")


def tell_unchanged(streams, events):
    """A change whose answer and event are lost in favour of UNCHANGED."""
    stream = of_some([s for s in streams if events.get(s.import_id)])
    event = events[stream.import_id].pop()
    result = [r for r in stream.results if r.id == event.contact_id and r.status in (1, 2)][-1]
    result.status = UNCHANGED


def tell_another_conflict(streams, events):
    taken = [r for s in streams for r in s.results if r.error.reason == "IDENTIFIER_TAKEN"]
    if not taken:
        pytest.skip("no identifier was taken")
    taken[0].error.conflicting_id = "00000000-1111-0000-0000-000000000000"


def change_a_row(streams, events):
    of_some([found for found in events.values() if found])[0].record.contact.name = "another"


@pytest.mark.parametrize("seed", range(20))
def test_what_takes_turns_is_explained(seed, monkeypatch):
    monkeypatch.setattr(model_world, "HAS", model_world.PARTS)
    world = Simulated(seed)
    for _ in range(3):
        explain(world, *world.play())
        assert world.model.rows == world.truth.rows


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("spoil", [
    lose_an_event, swap_two_events, tell_unchanged, tell_another_conflict, change_a_row])
def test_what_is_wrong_is_noticed(seed, spoil, monkeypatch):
    monkeypatch.setattr(model_world, "HAS", model_world.PARTS)
    world = Simulated(seed)
    streams, events = world.play()
    spoil(streams, events)
    with pytest.raises(AssertionError):
        explain(world, streams, events)
        assert world.model.rows == world.truth.rows
