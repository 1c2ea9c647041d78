"""Many streams at once."""

import concurrent.futures

import grpc

from harness import CREATED, UNCHANGED, UPDATED, bulk, request, upsert
from stubs import pb, rpc


def at_once(count, work):
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_fifty_small_streams_at_once_each_get_their_own_answers(server, stub, workspace):
    def work(number):
        return bulk(stub, [request([
            pb.Contact(email=f"{number}-{message}-{n}@fifty.example") for n in range(10)])
            for message in range(10)], workspace)

    outcomes = at_once(50, work)
    rows = dict(server.rows(workspace))
    assert len(rows) == 5000
    for number, outcome in enumerate(outcomes):
        outcome.check_ok(100)
        assert set(outcome.statuses) == {CREATED}
        assert [rows[i] for i in outcome.ids] == [
            f"{number}-{n // 10}-{n % 10}@fifty.example" for n in range(100)]


def test_streams_that_race_for_the_same_keys_end_in_one_row_for_each(server, stub, workspace):
    keys = 500

    def work(number):
        order = range(keys) if number % 2 else range(keys - 1, -1, -1)
        return bulk(stub, [request([
            pb.Contact(email=f"{key}@race.example", name=f"stream {number}")]) for key in order],
            workspace)

    outcomes = at_once(4, work)
    ids = {email: id_ for id_, email in server.rows(workspace)}
    assert len(ids) == len(server.rows(workspace)) == keys
    created = {}
    for number, outcome in enumerate(outcomes):
        outcome.check_ok(keys)
        assert set(outcome.statuses) <= {CREATED, UPDATED}
        order = range(keys) if number % 2 else range(keys - 1, -1, -1)
        for key, result in zip(order, outcome.results):
            assert result.id == ids[f"{key}@race.example"]
            if result.status == CREATED:
                created[key] = created.get(key, 0) + 1
    assert created == {key: 1 for key in range(keys)}


def test_streams_that_race_for_another_identifier_leave_it_to_one_of_them(
        server, stub, workspace_of):
    workspace = workspace_of("email,phone")

    def work(number):
        return bulk(stub, [request([
            pb.Contact(email=f"{number}-{n}@taken.example", phone=f"+1617555{n:04}")])
            for n in range(200)], workspace)

    outcomes = at_once(4, work)
    rows = server.rows(workspace, "phone, id::text")
    assert len(rows) == 200
    owner = dict(rows)
    for outcome in outcomes:
        outcome.check_ok(200)
        for n, result in enumerate(outcome.results):
            phone = f"+1617555{n:04}"
            if result.status == CREATED:
                assert owner[phone] == result.id
            else:
                assert result.error.reason == "IDENTIFIER_TAKEN"
                assert result.error.conflicting_id == owner[phone]


def test_swapping_identifiers_between_contacts_in_racing_streams_breaks_no_rule(
        server, stub, workspace_of):
    workspace = workspace_of("email,phone")

    def work(number):
        contacts = [pb.Contact(email=f"{(n + number) % 7}@swap.example", phone=f"+1617555{n % 5:04}")
                    for n in range(300)]
        return bulk(stub, [request(contacts[i:i + 20]) for i in range(0, 300, 20)], workspace)

    for outcome in at_once(3, work):
        outcome.check_ok(300)
        assert set(outcome.reasons.values()) <= {"IDENTIFIER_TAKEN"}
    rows = server.rows(workspace, "email, phone")
    phones = [phone for _, phone in rows if phone]
    assert len(phones) == len(set(phones))
    assert len(rows) == len({email for email, _ in rows}) <= 7


def test_many_unary_calls_on_one_connection_are_answered(stub, domain):
    futures = [stub.UpsertContacts.future(
        pb.UpsertContactsRequest(contacts=[pb.Contact(email=f"{n}@{domain}")]), timeout=60)
        for n in range(300)]
    assert all(f.result().results[0].status == CREATED for f in futures)


def test_many_connections_are_served(server, domain):
    channels = [grpc.insecure_channel(
        server.address, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(60)]
    try:
        contact = pb.Contact(email=f"same@{domain}", name="n")
        statuses = [upsert(rpc.ContactServiceStub(channel), [contact]).results[0].status
                    for channel in channels]
        assert statuses == [CREATED] + [UNCHANGED] * 59
    finally:
        for channel in channels:
            channel.close()
