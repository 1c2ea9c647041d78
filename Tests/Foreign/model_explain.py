"""Whether some serial order explains what streams that share keys were answered.

The order of all *changes* needs no search. Every stream of the round runs workflows, so each change
wrote one event in its own transaction. Offsets grow in the order in which events become visible, which
a watcher relies on to lose nothing, so an earlier offset is an earlier or the same commit, and within
one commit it is the order in which the contacts were applied. So the events, by offset, are the changes
in an order that the database lived through. Replayed through the model from the state before the round,
each event must be exactly what the model makes of a contact of that stream: the same type, contact and
row, with a status and id as the stream was answered. Which of the stream's contacts it was is told by
the import, the contact's id and the answer; when several fit, it is the first of them, since those
that share a key keep their order and two that share none and write the same row are the same to all.

An UNCHANGED or FAILED answer wrote nothing, so no witness tells when it was decided. But something is
known: it was decided against some state that the replay went through. In which part of the replay that
state must lie follows from the stream's own order. Contacts of one stream that have a matching key or a
unique identifier in common are applied in their order; others may commit in any order, since lanes are
free to overtake one another. So the state lies after each change, and not before the state of each
answer without a change, of an earlier contact that meets this one, and before each change of a later
contact that meets it. Taking the earliest state that explains each answer, in the stream's order, leaves
most room to those behind it, so if this fails no other choice succeeds. States between two changes of
one commit are among those tried, which no other stream could see: this accepts too much, never too
little. A failure by form alone needs no state.

In the end the model's state must be the table's; the caller compares it.
"""

from model import CREATED, FAILED, MATCH, UPDATED, row_of


def explain(world, streams, events):
    """`events`: by import, in the order of their offsets. Moves the world's model on."""
    model = world.model
    by_import = {stream.import_id: stream for stream in streams}
    assert set(events) <= set(by_import), "events of other imports"
    in_order = sorted((event for found in events.values() for event in found), key=lambda e: e.offset)
    waiting = {
        stream.import_id: [number for number, result in enumerate(stream.results)
                           if result.status in (CREATED, UPDATED)]
        for stream in streams}
    # The number of the change that a contact made: 0 changes the first state into the second.
    changes = {stream.import_id: {} for stream in streams}
    states = [model.snapshot()]
    for index, event in enumerate(in_order):
        stream = by_import[event.import_id]
        try:
            number = culprit(world, stream, waiting[event.import_id], event)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{story(in_order)}") from None
        waiting[event.import_id].remove(number)
        changes[event.import_id][number] = index
        world.take(stream, number, model.apply(stream.contacts[number], stream.options))
        states.append(model.snapshot())
    for stream in streams:
        left = waiting[stream.import_id]
        assert not left, f"changes without an event: {[stream.results[n] for n in left]}"
    for stream in streams:
        explain_stream(world, stream, changes[stream.import_id], states)


def story(events):
    """The changes of the round, a line each: what one needs to find out what went wrong."""
    return "\n".join(
        f"{event.offset} {event.occurred_at.nanos} {event.import_id[-4:]} {event.type} "
        f"{event.contact_id[-4:]} {event.record.contact.email!r} {event.record.contact.phone!r} "
        f"{event.record.contact.external_id!r} lists {list(event.record.contact.list_ids)}"
        for event in events)


def culprit(world, stream, waiting, event):
    """The contact of the stream that made the change."""
    assert event.record.contact.id == event.contact_id
    tried = []
    for number in waiting:
        result = stream.results[number]
        if result.id != event.contact_id:
            continue
        expected = world.model.predict(stream.contacts[number], stream.options)
        different = world.why(expected, result)
        if not different and expected.event == (event.type, row_of(event.record.contact)):
            return number
        tried.append((number + 1, different or expected.event))
    raise AssertionError(
        f"the event at offset {event.offset} is no change that the model makes at its place: {event}\n"
        f"the stream's options: {stream.options}\ncontacts that were tried: {tried}")


def explain_stream(world, stream, changes, states):
    """Finds a state for each answer without a change; checks the order of the changes."""
    model, options = world.model, stream.options
    named = model.unique | {MATCH[options.match_by]}
    meets = [{pair for pair in model.identifiers(contact, options) if pair[0] in named}
             for contact in stream.contacts]
    # By identifier: the earliest state that the next contact may be decided against, and the latest.
    earliest, later = {}, {}
    for number in sorted(changes):
        for pair in meets[number]:
            later.setdefault(pair, []).append(changes[number])
    for number, result in enumerate(stream.results):
        contact = stream.contacts[number]
        if model.faults(contact, options):
            assert result.status == FAILED, (contact, result)
            different = world.why(model.predict(contact, options), result)
            assert not different, f"{different}\nsent: {contact}\nanswered: {result}"
            continue
        low = max((earliest.get(pair, 0) for pair in meets[number]), default=0)
        if number in changes:
            at = changes[number]
            assert at >= low, f"sequence {number + 1} was applied before one that it follows: {result}"
            for pair in meets[number]:
                assert later[pair].pop(0) == at, f"sequence {number + 1} out of order: {result}"
                earliest[pair] = at + 1
            continue
        high = min((later[pair][0] for pair in meets[number] if later.get(pair)),
                   default=len(states) - 1)
        reasons = {}
        for at in range(low, high + 1):
            different = world.why(states[at].predict(contact, options), result)
            if not different:
                break
            reasons[at] = different
        else:
            raise AssertionError(
                f"no state explains the answer to sequence {number + 1} of {stream.options}\n"
                f"sent: {contact}\nanswered: {result}\nstates {low} to {high}: {reasons}")
        for pair in meets[number]:
            earliest[pair] = at
