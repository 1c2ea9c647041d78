"""Imports that are named, broken off, resumed, repeated and looked at."""

import itertools
import signal
import time

import grpc
import pytest

from harness import (CREATED, FAILED, UNCHANGED, UPDATED, LiveCall, Outcome, bulk, check_summary, failing,
                     get, metadata, request, upsert, wait_until)
from rpcs import create_list, events_so_far, get_import
from stubs import pb

REPLAYED = pb.UPSERT_STATUS_REPLAYED
RUNNING, INTERRUPTED, FINISHED = 1, 2, 3


def contacts(first, last, name="x"):
    return [pb.Contact(email=f"{n}@resume.example", name=name) for n in range(first, last + 1)]


def broken_off(stub, workspace, count=5, **options):
    """An import whose client was cancelled after so many answers."""
    call = LiveCall(stub, workspace)
    call.send(request(contacts(1, count), import_id="mine", **options))
    call.read_results(count)
    call.call.cancel()
    call.half_close()
    wait_until(lambda: get_import(stub, workspace, "mine").state == INTERRUPTED,
               what="the state INTERRUPTED")


def test_option_import_id_empty_is_made_by_the_server(stub, workspace):
    """contract: option `import_id`, empty."""
    made = [bulk(stub, [request()], workspace).started.import_id for _ in range(3)]
    made.append(upsert(stub, [], workspace).import_id)
    assert all(made) and len(set(made)) == 4
    assert all(1 <= len(text) <= 128 for text in made)
    for text in made:
        assert get_import(stub, workspace, text).import_id == text


@pytest.mark.parametrize("text", ["x", "x" * 128, "й" * 128, "😀" * 128, "a b/c\n%\"'", " "], ids=len)
def test_option_import_id_of_the_client_is_kept(stub, workspace, text):
    """contract: option `import_id`, 1 to 128 characters."""
    outcome = bulk(stub, [request(contacts(1, 2), import_id=text)], workspace).check_ok(2)
    assert (outcome.started.import_id, outcome.started.resumed) == (text, False)
    assert outcome.started.options.import_id in ("", text)
    assert get_import(stub, workspace, text).summary.created == 2


@pytest.mark.parametrize("text", ["x" * 129, "й" * 129])
def test_option_import_id_of_129_characters_is_refused(stub, workspace, text):
    """contract: option `import_id`, one past the limit."""
    assert bulk(stub, [request(import_id=text)], workspace).code == grpc.StatusCode.INVALID_ARGUMENT
    with failing(grpc.StatusCode.INVALID_ARGUMENT):
        upsert(stub, [], workspace, import_id=text)


@pytest.mark.parametrize("first", [1, 3, 5, 6])
def test_rule_6_a_resumed_import_goes_on_where_started_says(server, stub, workspace, first):
    """contract: rule 6; point `numbering in one call`: from 1 to `committed_through` + 1."""
    broken_off(stub, workspace)
    outcome = bulk(stub, [request(contacts(first, 7), first, import_id="mine"),
                          request(contacts(8, 9)), request(contacts(10, 10), 10)], workspace)
    assert outcome.code == grpc.StatusCode.OK
    assert (outcome.started.resumed, outcome.started.committed_through) == (True, 5)
    assert [r.sequence for r in outcome.results] == list(range(first, 11))
    assert outcome.statuses == [REPLAYED] * (6 - first) + [CREATED] * 5
    assert (outcome.summary.replayed, outcome.summary.created) == (6 - first, 5)
    assert outcome.summary.total == 11 - first
    ids = {email: id_ for id_, email in server.rows(workspace)}
    assert len(ids) == 10
    assert outcome.ids == [ids[f"{n}@resume.example"] for n in range(first, 11)]
    found = get_import(stub, workspace, "mine")
    assert found.state == FINISHED
    assert (found.summary.created, found.summary.committed_through) == (10, 10)


@pytest.mark.parametrize(("first", "code"), [
    (0, grpc.StatusCode.INVALID_ARGUMENT), (7, grpc.StatusCode.OUT_OF_RANGE),
    (2**64 - 1, grpc.StatusCode.OUT_OF_RANGE)])
def test_point_numbering_a_known_import_demands_first_sequence(server, stub, workspace, first, code):
    """contract: point `numbering in one call`."""
    broken_off(stub, workspace)
    outcome = bulk(stub, [request(import_id="mine"), request(contacts(6, 7), first)], workspace)
    assert (outcome.code, outcome.results) == (code, [])
    assert outcome.started.committed_through == 5
    assert len(server.rows(workspace)) == 5


def test_point_numbering_first_sequence_may_be_zero_while_nothing_is_committed(stub, workspace):
    """contract: point `numbering in one call`; a known import has `committed_through` > 0."""
    bulk(stub, [request(import_id="mine")], workspace).check_ok(0)
    outcome = bulk(stub, [request(contacts(1, 2), import_id="mine")], workspace).check_ok(2)
    assert outcome.started.resumed


@pytest.mark.parametrize("other", [
    {"match_by": pb.MATCH_BY_PHONE}, {"write_mode": pb.WRITE_MODE_REPLACE},
    {"existence": pb.EXISTENCE_UPDATE_ONLY}, {"default_dial_code": "1"}, {"list_ids": [1]},
    {"run_workflow": True}], ids=lambda o: next(iter(o)))
def test_point_other_options_are_a_failed_precondition(server, stub, workspace_of, other):
    """contract: point `other options`."""
    workspace = workspace_of("email,phone")
    if "list_ids" in other:
        other = {"list_ids": [create_list(stub, workspace).id]}
    broken_off(stub, workspace)
    outcome = bulk(stub, [request(contacts(6, 6), 6, import_id="mine", **other)], workspace)
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    with failing(grpc.StatusCode.FAILED_PRECONDITION):
        upsert(stub, contacts(1, 6), workspace, import_id="mine", **other)
    assert len(server.rows(workspace)) == 5


def test_point_other_options_validate_only_is_one_of_them(stub, workspace):
    """contract: point `other options`."""
    broken_off(stub, workspace)
    outcome = bulk(stub, [request(contacts(6, 6), 6, import_id="mine", validate_only=True)], workspace)
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION


def test_point_other_options_the_default_said_aloud_is_the_same_option(stub, workspace):
    """contract: point `other options`; unspecified is the default. List 0 is no list."""
    broken_off(stub, workspace)
    outcome = bulk(stub, [request(
        contacts(6, 6), 6, import_id="mine", match_by=1, write_mode=1, existence=1, list_ids=[0])],
        workspace)
    assert (outcome.code, outcome.statuses) == (grpc.StatusCode.OK, [CREATED])


def test_point_other_options_results_max_failures_and_labels_may_differ(stub, workspace):
    """contract: point `other options`, the latest stand; option `labels`."""
    broken_off(stub, workspace, labels={"a": "1", "b": "2"}, max_failures=100)
    assert dict(get_import(stub, workspace, "mine").options.labels) == {"a": "1", "b": "2"}
    later = {"results": pb.RESULT_MODE_SUMMARY, "max_failures": 7, "labels": {"ключ": "", "c": "й"}}
    outcome = bulk(stub, [request(contacts(6, 6), 6, import_id="mine", **later)], workspace)
    assert (outcome.code, outcome.results) == (grpc.StatusCode.OK, [])
    options = get_import(stub, workspace, "mine").options
    assert dict(options.labels) == later["labels"]
    assert (options.results, options.max_failures) == (pb.RESULT_MODE_SUMMARY, 7)
    bulk(stub, [request(import_id="mine")], workspace)
    assert dict(get_import(stub, workspace, "mine").options.labels) == {}


def test_option_labels_are_kept_with_the_import(stub, workspace):
    """contract: option `labels`, none and some."""
    answer = upsert(stub, contacts(1, 1), workspace, labels={"file": "a.csv"})
    assert dict(get_import(stub, workspace, answer.import_id).options.labels) == {"file": "a.csv"}
    assert dict(bulk(stub, [request(labels={"k": "v"})], workspace).started.options.labels) == {"k": "v"}
    answer = upsert(stub, contacts(1, 1), workspace)
    assert dict(get_import(stub, workspace, answer.import_id).options.labels) == {}


def test_rule_6_a_second_live_stream_fences_the_first(server, stub, workspace):
    """contract: rule 6, `IMPORT_TAKEN_OVER`."""
    first = LiveCall(stub, workspace)
    first.send(request(contacts(1, 3), import_id="mine"))
    first.read_results(3)
    second = LiveCall(stub, workspace)
    second.send(request(import_id="mine"))
    started = second.read().started
    assert (started.resumed, started.committed_through) == (True, 3)
    first.send(request(contacts(4, 5, "of the first")))
    outcome = first.finish()
    assert outcome.code == grpc.StatusCode.ABORTED
    assert "IMPORT_TAKEN_OVER" in outcome.details
    assert len(outcome.results) == 3
    second.send(request(contacts(4, 6, "of the second"), 4))
    second.half_close()
    outcome = second.finish()
    assert (outcome.code, outcome.statuses) == (grpc.StatusCode.OK, [CREATED] * 3)
    names = dict(server.rows(workspace, "email, name"))
    assert names["4@resume.example"] == names["5@resume.example"] == "of the second"
    assert get_import(stub, workspace, "mine").state == FINISHED


def test_rule_6_an_idle_stream_that_was_fenced_is_told(stub, workspace):
    """contract: rule 6; the first stream sends nothing more."""
    first = LiveCall(stub, workspace)
    first.send(request(contacts(1, 1), import_id="mine"))
    first.read_results(1)
    upsert(stub, contacts(1, 2), workspace, import_id="mine")
    outcome = first.finish()
    assert (outcome.code, "IMPORT_TAKEN_OVER" in outcome.details) == (grpc.StatusCode.ABORTED, True)


def test_rule_6_a_replay_changes_nothing_whoever_has_changed_the_contacts_since(
        server, stub, workspace_of):
    """contract: rule 6; point `REPLAYED`: the id is looked up by the identifier."""
    workspace = workspace_of("email,phone")
    sent = [pb.Contact(email=f"{n}@resume.example", phone=f"+1617555000{n}", name="x")
            for n in range(1, 5)] + [pb.Contact(email="bad")]
    message = request(sent, 1, import_id="mine", run_workflow=True)
    first = bulk(stub, [message], workspace).check_ok(5)
    # Another name, another email, and an email that a second contact has now.
    upsert(stub, [pb.Contact(email="1@resume.example", name="changed")], workspace)
    upsert(stub, [pb.Contact(phone="+16175550002", email="renamed@resume.example"),
                  pb.Contact(phone="+16175550003", email="also@resume.example")],
           workspace, match_by=pb.MATCH_BY_PHONE)
    other = upsert(stub, [pb.Contact(email="3@resume.example")], workspace).results[0].id
    offset = max(e.offset for e in events_so_far(stub, workspace))
    before = sorted(server.rows(workspace, "id::text, email, phone, name, updated_at"))
    again = bulk(stub, [message], workspace)
    assert again.code == grpc.StatusCode.OK
    assert again.statuses == [REPLAYED] * 4 + [FAILED]
    assert again.ids == [first.ids[0], "", other, first.ids[3], ""]
    assert again.reasons == {5: "EMAIL_INVALID"}
    assert (again.summary.replayed, again.summary.failed, again.summary.total) == (4, 1, 5)
    after = sorted(server.rows(workspace, "id::text, email, phone, name, updated_at"))
    assert after == before
    assert [e for e in events_so_far(stub, workspace, offset)
            if e.import_id == first.started.import_id] == []


def test_point_unary_a_repeated_call_with_an_import_id_answers_replayed(stub, workspace):
    """contract: point `UpsertContacts`."""
    options = {"import_id": "mine", "run_workflow": True}
    first = upsert(stub, contacts(1, 3), workspace, **options)
    upsert(stub, contacts(2, 2, "other"), workspace)
    again = upsert(stub, contacts(1, 3), workspace, **options)
    assert [r.status for r in again.results] == [REPLAYED] * 3
    assert [r.id for r in again.results] == [r.id for r in first.results]
    assert again.summary.replayed == again.summary.total == 3
    assert again.import_id == "mine"
    assert get(stub, {"email": "2@resume.example"}, workspace=workspace)[0].record.contact.name == "other"
    # Numbered from 1: what is longer goes on after the watermark.
    longer = upsert(stub, contacts(1, 5), workspace, **options)
    assert [r.status for r in longer.results] == [REPLAYED] * 3 + [CREATED] * 2
    assert len(events_so_far(stub, workspace)) == 5


def test_point_an_import_that_ended_can_be_called_again(stub, workspace):
    """contract: point `an import that ended`; its states."""
    bulk(stub, [request(contacts(1, 2), import_id="mine")], workspace).check_ok(2)
    assert get_import(stub, workspace, "mine").state == FINISHED
    call = LiveCall(stub, workspace)
    call.send(request(import_id="mine"))
    assert call.read().started.committed_through == 2
    assert get_import(stub, workspace, "mine").state == RUNNING
    call.send(request(contacts(3, 3), 3))
    call.read_results(1)
    found = get_import(stub, workspace, "mine")
    assert (found.state, found.summary.committed_through) == (RUNNING, 3)
    call.call.cancel()
    call.half_close()
    wait_until(lambda: get_import(stub, workspace, "mine").state == INTERRUPTED)
    outcome = bulk(stub, [request(contacts(4, 4), 4, import_id="mine")], workspace)
    assert outcome.statuses == [CREATED]
    found = get_import(stub, workspace, "mine")
    assert (found.state, found.summary.total, found.summary.created) == (FINISHED, 4, 4)
    assert found.created_at.ToNanoseconds() <= found.updated_at.ToNanoseconds()


def test_an_import_that_max_failures_stopped_is_resumed_behind_it(stub, workspace):
    """contract: option `max_failures`; rule 6."""
    sent = contacts(1, 2) + [pb.Contact(email="bad")] + contacts(4, 5)
    outcome = bulk(stub, [request(import_id="mine", max_failures=1),
                          *(request([contact]) for contact in sent)], workspace)
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    taken = outcome.summary.committed_through
    assert 3 <= taken <= 5
    again = bulk(stub, [request(sent, 1, import_id="mine")], workspace)
    assert again.started.committed_through == taken
    expected = [REPLAYED, REPLAYED, FAILED, REPLAYED, REPLAYED][:taken] + [CREATED] * (5 - taken)
    assert (again.code, again.statuses) == (grpc.StatusCode.OK, expected)


def test_an_import_belongs_to_its_workspace(stub, workspace_of):
    """contract: every unique key begins with the workspace."""
    one, two = workspace_of(), workspace_of()
    bulk(stub, [request(contacts(1, 2), import_id="mine")], one).check_ok(2)
    with failing(grpc.StatusCode.NOT_FOUND):
        get_import(stub, two, "mine")
    assert not bulk(stub, [request(contacts(1, 2), import_id="mine")], two).check_ok(2).started.resumed


def test_imports_whose_ids_only_look_the_same_are_two(stub, workspace):
    """contract: option `import_id`; precomposed and decomposed letters are different bytes."""
    ids = ["caf\u00e9", "cafe\u0301"]
    calls = []
    for number, import_id in enumerate(ids):
        call = LiveCall(stub, workspace)
        call.send(request(contacts(1, number + 1, import_id), import_id=import_id))
        assert not call.read().started.resumed
        call.read_results(number + 1)
        calls.append(call)
    for number, import_id in enumerate(ids):
        found = get_import(stub, workspace, import_id)
        assert (found.import_id, found.state) == (import_id, RUNNING)
        assert found.summary.total == number + 1
    # Neither has taken the other's place.
    for call in calls:
        call.half_close()
        assert call.finish().code == grpc.StatusCode.OK
    listed = stub.ListImports(pb.ListImportsRequest(), metadata=metadata(workspace), timeout=60)
    assert {found.import_id: found.summary.total for found in listed.imports} == {
        ids[0]: 1, ids[1]: 2}


def test_an_import_that_the_server_named_is_known_before_its_first_contact(stub, workspace):
    """contract: point `an import that ended`: RUNNING is a live call."""
    call = LiveCall(stub, workspace)
    call.send(request(match_by=pb.MATCH_BY_EMAIL, labels={"a": "b"}))
    import_id = call.read().started.import_id
    found = get_import(stub, workspace, import_id)
    assert (found.import_id, found.state, found.summary.total) == (import_id, RUNNING, 0)
    assert dict(found.options.labels) == {"a": "b"}
    assert abs(found.created_at.ToSeconds() - time.time()) < 60
    assert found.created_at == found.updated_at
    call.send(request(contacts(1, 2)))
    call.read_results(2)
    assert get_import(stub, workspace, import_id).summary.total == 2
    call.half_close()
    call.finish()
    assert get_import(stub, workspace, import_id).state == FINISHED


@pytest.mark.parametrize("token", [
    "x", ":", "1", "x:1", "9223372036854775807:x", "9223372036854775806:x",
    "9223371331200000000:x", "-211813488000000001:x", "-9223372036854775808:x", "1:\0"], ids=repr)
def test_a_page_token_that_the_server_never_gave_is_an_invalid_argument(stub, workspace, token):
    with failing(grpc.StatusCode.INVALID_ARGUMENT):
        stub.ListImports(pb.ListImportsRequest(page_token=token),
                         metadata=metadata(workspace), timeout=60)


@pytest.mark.parametrize("token", ["9223371331199999999:", "-211813488000000000:x"])
def test_the_first_and_the_last_page_token_are_taken(stub, workspace, token):
    stub.ListImports(pb.ListImportsRequest(page_token=token),
                     metadata=metadata(workspace), timeout=60)


@pytest.mark.parametrize("import_id,code", [
    ("x" * 128, grpc.StatusCode.NOT_FOUND), ("x" * 129, grpc.StatusCode.INVALID_ARGUMENT),
    # One letter, as it is seen.
    ("a" + "\u0301" * 100_000, grpc.StatusCode.INVALID_ARGUMENT)], ids=["128", "129", "accents"])
def test_an_id_that_no_import_can_have_is_refused(stub, workspace, import_id, code):
    with pytest.raises(grpc.RpcError) as error:
        get_import(stub, workspace, import_id)
    assert error.value.code() == code
    if code == grpc.StatusCode.INVALID_ARGUMENT:
        assert "import_id: it has more than 128 characters" in error.value.details()


def test_service_get_import_and_list_imports(stub, workspace):
    """contract: services `GetImport`, `ListImports`."""
    with failing(grpc.StatusCode.NOT_FOUND):
        get_import(stub, workspace, "no such")
    outcomes = [bulk(stub, [request(contacts(1, 3) + [pb.Contact()], import_id=f"i{n}")], workspace)
                for n in range(7)]
    for number, outcome in enumerate(outcomes):
        found = get_import(stub, workspace, f"i{number}")
        assert found.summary == outcome.summary
        check_summary(found.summary, outcome.results)
        assert found.options.match_by == pb.MATCH_BY_EMAIL
    seen, token = [], ""
    for page in itertools.count():
        answer = stub.ListImports(pb.ListImportsRequest(page_size=3, page_token=token),
                                  metadata=metadata(workspace), timeout=60)
        assert len(answer.imports) <= 3
        seen += [found.import_id for found in answer.imports]
        token = answer.next_page_token
        if not token:
            break
        assert page < 5
    assert seen == [f"i{n}" for n in reversed(range(7))]
    whole = stub.ListImports(pb.ListImportsRequest(), metadata=metadata(workspace), timeout=60)
    assert [found.import_id for found in whole.imports] == seen and not whole.next_page_token
    assert all(found == get_import(stub, workspace, found.import_id) for found in whole.imports)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["client", "kill", "term", "database"])
def test_rule_6_resume_is_exact_after_a_break(own_servers, data_dir, how):
    """contract: rule 6; the client is cancelled, the server is killed or stopped, or every connection
    to the database is cut, five times in mid-stream. Each contact changes its row and its event once."""
    count, per_message = 4000, 40
    sent = [pb.Contact(email=f"{n % 500}@break.example", name=f"name {n // 500}")
            for n in range(count)]
    server = own_servers(data_dir=data_dir)
    statuses = {}

    def messages(first):
        for start in range(first - 1, count, per_message):
            options = {} if start != first - 1 else {
                "import_id": "mine", "run_workflow": True}
            yield request(sent[start:min(start + per_message, count)], start + 1, **options)

    def take(outcome):
        for result in outcome.results:
            if result.status != REPLAYED:
                assert statuses.setdefault(result.sequence, result.status) == result.status
        return outcome

    watermark = 0
    for attempt in range(5):
        stop_at = len(statuses) + 300
        struck = []

        def seen(outcome):
            if struck or len(statuses) + len(outcome.results) < stop_at:
                return
            struck.append(True)
            if how == "client":
                raise BrokenOff
            if how == "database":
                server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                             " WHERE pid <> pg_backend_pid() AND usename IS NOT NULL"
                             " AND datname = current_database()")
            else:
                server.process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)

        first = max(1, watermark + 1 - attempt * 3)
        outcome = broken_bulk(server.stub, messages(first), seen)
        if outcome.started:
            assert outcome.started.committed_through >= watermark
        take(outcome)
        if how in ("kill", "term") and struck:
            server.wait()
            server = own_servers(data_dir=data_dir)
        probe = bulk(server.stub, [request(import_id="mine", run_workflow=True)])
        assert probe.started.resumed
        watermark = probe.started.committed_through
        assert watermark >= max(statuses, default=0), "an answer was given before its commit"
    outcome = take(bulk(server.stub, messages(watermark + 1)))
    assert outcome.code == grpc.StatusCode.OK, (outcome.code, outcome.details)
    assert {status for status in statuses.values()} <= {CREATED, UPDATED, UNCHANGED}
    found = get_import(server.stub, None, "mine")
    assert (found.state, found.summary.committed_through) == (FINISHED, count)
    assert (found.summary.created, found.summary.updated) == (500, count - 500)
    names = server.query("SELECT name, count(*) FROM contacts WHERE email LIKE '%%@break.example'"
                         " GROUP BY name")
    assert names == [("name 7", 500)]
    rounds = {}
    for event in events_so_far(server.stub, "default"):
        rounds.setdefault(event.contact_id, []).append(event.record.contact.name)
    assert len(rounds) == 500
    assert all(found == [f"name {n}" for n in range(8)] for found in rounds.values())


class BrokenOff(Exception):
    pass


def broken_bulk(stub, messages, seen):
    """`bulk`, which `seen` may break off."""
    outcome = Outcome()
    call = stub.BulkUpsert(messages, timeout=90)
    try:
        for response in call:
            outcome.take(response)
            seen(outcome)
    except (grpc.RpcError, BrokenOff):
        call.cancel()
    return outcome
