"""The options of an import, the identifiers that match, and workspaces."""

import threading
import time

import grpc
import pytest

from harness import (CREATED, FAILED, UNCHANGED, UPDATED, LiveCall, bulk, failing, field, get,
                     metadata, request, upsert)
from stubs import pb


@pytest.mark.parametrize("options", [
    {"match_by": 5}, {"match_by": -1}, {"write_mode": 3}, {"existence": 4}, {"results": 4},
    {"results": 2**31 - 1}, {"default_dial_code": "abc"}, {"default_dial_code": "+1"},
    {"default_dial_code": "1 "}, {"default_dial_code": "1" * 40}, {"default_dial_code": "1\0"},
    {"import_id": "x" * 129}, {"import_id": "e" + "\u0301" * 128}, {"list_ids": [0] * 101}, {"labels": {"": "x"}},
    {"labels": {"x" * 65: ""}}, {"labels": {"x": "y" * 257}},
    {"labels": {str(n): "" for n in range(33)}},
    {"existence": pb.EXISTENCE_CREATE_ONLY, "match_by": pb.MATCH_BY_ID},
], ids=lambda options: str(options)[:40])
def test_a_bad_option_is_an_invalid_argument_and_nothing_is_written(
        server, stub, workspace, options):
    contact = pb.Contact(email="a@options.example", phone="6175551212")
    outcome = bulk(stub, [request([contact], **options)], workspace)
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
    with failing(grpc.StatusCode.INVALID_ARGUMENT) as failure:
        upsert(stub, [contact], workspace, **options)
    assert next(iter(options)) in failure.error.details()
    assert server.rows(workspace) == []


def test_an_unknown_list_of_the_import_is_not_found_and_nothing_is_written(
        server, stub, workspace):
    contact = pb.Contact(email="a@options.example")
    for lists in ([7], [0, 7], [-1], [2**63 - 1]):
        outcome = bulk(stub, [request([contact], list_ids=lists)], workspace)
        assert outcome.code == grpc.StatusCode.NOT_FOUND
        with failing(grpc.StatusCode.NOT_FOUND):
            upsert(stub, [contact], workspace, list_ids=lists)
    assert server.rows(workspace) == []


def test_options_at_their_limits_are_taken(stub, workspace):
    labels = {str(n).rjust(64, "x"): "y" * 256 for n in range(32)}
    answer = upsert(stub, [], workspace, import_id="x" * 128, list_ids=[0] * 100, labels=labels)
    assert answer.import_id == "x" * 128


def test_list_zero_is_no_list(stub, domain):
    contact = pb.Contact(email=f"a@{domain}", list_ids=[0])
    outcome = bulk(stub, [request([contact], list_ids=[0])]).check_ok(1)
    assert outcome.statuses == [CREATED]
    assert list(upsert(stub, [contact], list_ids=[0, 0]).results)[0].status == UNCHANGED


def test_options_in_a_later_message_are_an_invalid_argument(server, stub, workspace):
    outcome = bulk(stub, [
        request([pb.Contact(email="a@late.example")]),
        request([pb.Contact(email="b@late.example")], results=pb.RESULT_MODE_ALL),
    ], workspace)
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT
    assert outcome.statuses == [CREATED]
    assert [row[1] for row in server.rows(workspace)] == ["a@late.example"]


def test_options_after_an_empty_first_message_are_an_invalid_argument(stub):
    outcome = bulk(stub, [request(), request(results=pb.RESULT_MODE_ALL)])
    assert outcome.code == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("match_by", [pb.MATCH_BY_PHONE, pb.MATCH_BY_EXTERNAL_ID])
def test_matching_by_what_is_not_unique_is_a_failed_precondition(server, stub, domain, match_by):
    contact = pb.Contact(email=f"a@{domain}", phone="+16175551212", external_id="x")
    outcome = bulk(stub, [request([contact], match_by=match_by)])
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    with failing(grpc.StatusCode.FAILED_PRECONDITION):
        upsert(stub, [contact], match_by=match_by)
    assert not get(stub, {"email": f"a@{domain}"})[0].found


def test_an_unknown_workspace_is_not_found(stub):
    contact = pb.Contact(email="a@b.example")
    assert bulk(stub, [request([contact])], "no-such").code == grpc.StatusCode.NOT_FOUND
    with failing(grpc.StatusCode.NOT_FOUND):
        upsert(stub, [contact], "no-such")
    with failing(grpc.StatusCode.NOT_FOUND):
        get(stub, {"email": "a@b.example"}, workspace="no-such")


def test_workspaces_do_not_see_one_another(server, stub, workspace_of):
    one, two = workspace_of(), workspace_of()
    contact = pb.Contact(email="a@shared.example", name="one")
    first = upsert(stub, [contact], one).results[0]
    contact.name = "two"
    second = upsert(stub, [contact], two).results[0]
    assert (first.status, second.status) == (CREATED, CREATED)
    assert first.id != second.id
    assert not get(stub, {"id": first.id}, workspace=two)[0].found
    assert get(stub, {"id": first.id}, workspace=one)[0].record.contact.name == "one"


def test_contacts_are_matched_by_phone(server, stub, workspace_of):
    workspace = workspace_of("phone")
    sent = [pb.Contact(phone="+1 617 555 1212", name="a"), pb.Contact(phone="0016175551212"),
            pb.Contact(phone="1 (617) 555-1212", name="b"), pb.Contact(email="a@b.example"),
            pb.Contact(phone="+16175551213", email="same@b.example"),
            pb.Contact(phone="+16175551214", email="same@b.example")]
    outcome = bulk(stub, [request(sent, match_by=pb.MATCH_BY_PHONE)], workspace).check_ok(6)
    assert outcome.statuses == [CREATED, UNCHANGED, UPDATED, FAILED, CREATED, CREATED]
    assert outcome.reasons == {4: "KEY_MISSING"}
    assert outcome.results[3].error.field == "phone"
    assert len(set(outcome.ids[:3])) == 1
    entries = get(stub, {"phone": "+1-617-555-1212"}, {"email": "same@b.example"},
                  workspace=workspace)
    assert entries[0].record.contact.name == "b"
    assert entries[1].record.contact.id == min(outcome.ids[4:])
    # Email is not unique here, so it matches nothing.
    assert bulk(stub, [request(sent)], workspace).code == grpc.StatusCode.FAILED_PRECONDITION


def test_contacts_are_matched_by_external_id_which_is_kept_as_it_is(stub, workspace_of):
    workspace = workspace_of("external_id")
    sent = [pb.Contact(external_id=text, name="x") for text in
            ["A-1", "a-1", " A-1", "A-1", "ключ", "x" * 255]]
    outcome = bulk(
        stub, [request(sent, match_by=pb.MATCH_BY_EXTERNAL_ID)], workspace).check_ok(6)
    assert outcome.statuses == [CREATED, CREATED, CREATED, UNCHANGED, CREATED, CREATED]
    entries = get(stub, *({"external_id": c.external_id} for c in sent), workspace=workspace)
    assert [e.record.contact.id for e in entries] == outcome.ids
    assert [e.record.contact.external_id for e in entries] == [c.external_id for c in sent]


@pytest.mark.parametrize(("code", "given", "stored"), [
    ("1", "6175551212", "+16175551212"), ("1", "16175551212", "+16175551212"),
    ("1", "(617) 555-1212", "+16175551212"), ("1", "+44 20 7946 0958", "+442079460958"),
    ("1", "0044 20 7946 0958", "+442079460958"), ("44", "020 7946 0958", "+442079460958"),
    ("44", "442079460958", "+442079460958"), ("44", "20 7946 0958", "+442079460958"),
    ("49", "030 901820", "+4930901820"), ("39", "06 69812345", "+390669812345"),
    ("", "442079460958", "+442079460958"),
])
def test_the_default_dial_code_completes_national_numbers(stub, domain, code, given, stored):
    contact = pb.Contact(email=f"a@{domain}", phone=given)
    results = upsert(stub, [contact], default_dial_code=code).results
    assert results[0].status == CREATED, results
    assert get(stub, {"email": f"a@{domain}"})[0].record.contact.phone == stored


def full_contact(email):
    return pb.Contact(
        email=email, phone="+16175551212", external_id="e1", name="N", first_name="F",
        last_name="L", fields=[field("a", 1), field("b", "two")])


def test_merge_leaves_what_is_absent_and_clears_what_is_empty(stub, domain):
    email = f"a@{domain}"
    upsert(stub, [full_contact(email)])
    change = pb.Contact(email=email, phone="", name="", first_name="G", fields=[
        field("a"), field("c", ""), field("missing")])
    results = upsert(stub, [change, change]).results
    assert [r.status for r in results] == [UPDATED, UNCHANGED]
    contact = get(stub, {"email": email})[0].record.contact
    assert contact == pb.Contact(
        email=email, id=results[0].id, external_id="e1", first_name="G", last_name="L",
        fields=[field("b", "two"), field("c", "")])


def test_replace_clears_what_is_absent(stub, domain):
    email = f"a@{domain}"
    upsert(stub, [full_contact(email)])
    change = pb.Contact(email=email, last_name="M", fields=[field("c", 3.0)])
    mode = {"write_mode": pb.WRITE_MODE_REPLACE}
    results = upsert(stub, [change, change], **mode).results
    assert [r.status for r in results] == [UPDATED, UNCHANGED]
    contact = get(stub, {"email": email})[0].record.contact
    assert contact == pb.Contact(
        email=email, id=results[0].id, last_name="M", fields=[field("c", 3.0)])
    # A repeat in the same call is cleared in its turn.
    results = upsert(stub, [full_contact(email), change], **mode).results
    assert [r.status for r in results] == [UPDATED, UPDATED]
    assert get(stub, {"email": email})[0].record.contact == contact


def test_create_only_refuses_what_is_there_with_its_id(stub, domain):
    there = upsert(stub, [pb.Contact(email=f"there@{domain}", name="old")]).results[0].id
    sent = [pb.Contact(email=f"there@{domain}", name="new"), pb.Contact(email=f"new@{domain}"),
            pb.Contact(email=f"new@{domain}", name="again")]
    outcome = bulk(stub, [request(sent, existence=pb.EXISTENCE_CREATE_ONLY)]).check_ok(3)
    assert outcome.statuses == [FAILED, CREATED, FAILED]
    assert outcome.reasons == {1: "ALREADY_EXISTS", 3: "ALREADY_EXISTS"}
    assert outcome.results[0].error.conflicting_id == there
    assert outcome.results[2].error.conflicting_id == outcome.results[1].id
    entries = get(stub, {"email": f"there@{domain}"}, {"email": f"new@{domain}"})
    assert [e.record.contact.name for e in entries] == ["old", ""]


def test_update_only_refuses_what_is_not_there(stub, domain):
    there = upsert(stub, [pb.Contact(email=f"there@{domain}", name="old")]).results[0].id
    sent = [pb.Contact(email=f"there@{domain}", name="new"), pb.Contact(email=f"new@{domain}"),
            pb.Contact(email=f"there@{domain}", name="new")]
    outcome = bulk(stub, [request(sent, existence=pb.EXISTENCE_UPDATE_ONLY)]).check_ok(3)
    assert outcome.statuses == [UPDATED, FAILED, UNCHANGED]
    assert outcome.reasons == {2: "NOT_FOUND"}
    assert outcome.ids[0] == there
    assert not get(stub, {"email": f"new@{domain}"})[0].found


def mixed(domain, count=30):
    """Every third contact is bad."""
    return [pb.Contact(email=f"{n}@{domain}" if n % 3 else "bad") for n in range(1, count + 1)]


def test_results_can_be_only_the_failures(stub, domain):
    messages = [request(mixed(domain)[:10], results=pb.RESULT_MODE_FAILURES),
                request(mixed(domain)[10:])]
    outcome = bulk(stub, messages)
    assert outcome.code == grpc.StatusCode.OK
    assert [r.sequence for r in outcome.results] == list(range(3, 31, 3))
    assert outcome.marks == sorted(outcome.marks)
    summary = outcome.summary
    assert (summary.total, summary.created, summary.failed) == (30, 20, 10)
    assert dict(summary.failed_by_reason) == {"EMAIL_INVALID": 10}
    response = upsert(stub, mixed(domain), results=pb.RESULT_MODE_FAILURES)
    assert [r.sequence for r in response.results] == list(range(3, 31, 3))
    assert response.summary.unchanged == 20


def test_results_can_be_only_the_summary(stub, domain):
    outcome = bulk(stub, [request(mixed(domain), results=pb.RESULT_MODE_SUMMARY)])
    assert outcome.code == grpc.StatusCode.OK
    assert outcome.results == []
    summary = outcome.summary
    assert (summary.total, summary.created, summary.failed) == (30, 20, 10)
    assert summary.committed_through == 30
    response = upsert(stub, mixed(domain), results=pb.RESULT_MODE_SUMMARY)
    assert (list(response.results), response.summary.total) == ([], 30)


@pytest.mark.parametrize("mode", [pb.RESULT_MODE_FAILURES, pb.RESULT_MODE_SUMMARY])
def test_committed_through_comes_within_a_second_of_progress_in_each_mode(stub, domain, mode):
    call = LiveCall(stub, timeout=20)
    call.send(request([pb.Contact(email=f"a@{domain}")], results=mode))
    end = time.monotonic() + 5
    while 1 not in call.outcome.marks:
        assert time.monotonic() < end
        call.read()
    call.send(request([pb.Contact(email=f"{n}@{domain}") for n in range(50)]))
    start = time.monotonic()
    while 51 not in call.outcome.marks:
        call.read()
    assert time.monotonic() - start < 3
    call.half_close()
    assert call.finish().code == grpc.StatusCode.OK
    assert call.outcome.results == []


def test_an_import_stops_when_so_many_contacts_have_failed(server, stub, workspace):
    sent = [pb.Contact(email=f"{n}@stop.example" if n % 2 else "bad") for n in range(1, 2001)]
    messages = [request(max_failures=5)] + [request([contact]) for contact in sent]
    outcome = bulk(stub, messages, workspace)
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    count = outcome.summary.total
    assert count >= 10
    outcome.check_all(count)
    assert outcome.summary.failed >= 5
    good = {r.id for r in outcome.results if r.status == CREATED}
    assert {row[0] for row in server.rows(workspace)} == good


def test_an_import_below_max_failures_goes_on(stub, domain):
    sent = [pb.Contact(email=f"{n}@{domain}" if n % 2 else "bad") for n in range(1, 10)]
    bulk(stub, [request(sent, max_failures=5)]).check_ok(9)


def test_the_failure_that_reaches_max_failures_stops_the_import(stub, domain):
    call = LiveCall(stub, timeout=20)
    call.send(request([pb.Contact(email="bad")], max_failures=2))
    call.read_results(1)
    call.send(request([pb.Contact(email=f"a@{domain}"), pb.Contact(email="bad")]))
    outcome = call.finish()
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    outcome.check_all(3)


def test_a_unary_call_is_answered_whole_or_ends_with_the_status_when_max_failures_is_reached(
        stub, domain):
    """A unary call cannot carry both, and the contract does not say which it is."""
    sent = [pb.Contact(email="bad"), pb.Contact(email=f"a@{domain}")]
    try:
        response = upsert(stub, sent, max_failures=1)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    else:
        assert [r.status for r in response.results] == [FAILED, CREATED]


def test_a_failure_that_a_lane_finds_counts_after_the_half_close_too(stub, workspace_of):
    workspace = workspace_of("email,phone,external_id")
    sent = [pb.Contact(email="a@late.example", phone="+16175551212"),
            pb.Contact(email="b@late.example", phone="+16175551212")]
    outcome = bulk(stub, [request(sent, max_failures=1)], workspace)
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    assert outcome.statuses == [CREATED, FAILED]
    assert outcome.summary.failed == 1


def test_an_identifier_that_another_contact_has_is_taken(stub, workspace_of):
    workspace = workspace_of("email,phone,external_id")
    first = upsert(stub, [
        pb.Contact(email="a@t.example", phone="+16175550001", external_id="A")], workspace)
    owner = first.results[0].id
    sent = [
        pb.Contact(email="b@t.example", name="before"),
        pb.Contact(email="b@t.example", name="after", phone="+1 617 555 0001"),
        pb.Contact(email="c@t.example", external_id="A"),
        pb.Contact(email="d@t.example", external_id="D"),
        pb.Contact(email="e@t.example", external_id="D"),
        pb.Contact(email="a@t.example", phone="+16175550001", external_id="A"),
    ]
    outcome = bulk(stub, [request(sent)], workspace).check_ok(6)
    assert outcome.statuses == [CREATED, FAILED, FAILED, CREATED, FAILED, UNCHANGED]
    assert [(r.error.reason, r.error.field, r.error.conflicting_id)
            for r in outcome.results if r.status == FAILED] == [
        ("IDENTIFIER_TAKEN", "phone", owner), ("IDENTIFIER_TAKEN", "external_id", owner),
        ("IDENTIFIER_TAKEN", "external_id", outcome.results[3].id)]
    entries = get(stub, {"email": "b@t.example"}, {"email": "c@t.example"}, workspace=workspace)
    assert entries[0].record.contact.name == "before"
    assert not entries[1].found


def test_an_identifier_that_was_given_up_can_be_taken_in_the_same_call(stub, workspace_of):
    workspace = workspace_of("email,phone")
    sent = [
        pb.Contact(email="a@g.example", phone="+16175550001"),
        pb.Contact(email="b@g.example", phone="+16175550001"),
        pb.Contact(email="a@g.example", phone=""),
        pb.Contact(email="b@g.example", phone="+16175550001"),
        pb.Contact(email="a@g.example", phone="+16175550001"),
    ]
    outcome = bulk(stub, [request(sent)], workspace).check_ok(5)
    assert outcome.statuses == [CREATED, FAILED, UPDATED, CREATED, FAILED]


def test_an_upsert_by_phone_may_change_the_email(stub, workspace_of):
    workspace = workspace_of("email,phone")
    by_phone = {"match_by": pb.MATCH_BY_PHONE}
    sent = [pb.Contact(phone="+16175550001", email="old@p.example"),
            pb.Contact(phone="+16175550001", email="new@p.example"),
            pb.Contact(phone="+16175550002", email="new@p.example"),
            pb.Contact(phone="+16175550002", email="old@p.example")]
    outcome = bulk(stub, [request(sent, **by_phone)], workspace).check_ok(4)
    assert outcome.statuses == [CREATED, UPDATED, FAILED, CREATED]
    assert outcome.results[2].error.conflicting_id == outcome.ids[0]


def test_a_standard_identifier_that_is_not_unique_may_be_shared(stub, domain):
    sent = [pb.Contact(email=f"{n}@{domain}", phone="+16175551212", external_id="x")
            for n in range(3)]
    assert bulk(stub, [request(sent)]).check_ok(3).statuses == [CREATED] * 3


def test_the_times_of_a_contact_tell_when_it_was_made_and_changed(stub, domain):
    email = f"a@{domain}"
    record = []
    for name in ("a", "b", "b"):
        upsert(stub, [pb.Contact(email=email, name=name)])
        record.append(get(stub, {"email": email})[0].record)
    now = time.time()
    assert abs(record[0].created_at.seconds - now) < 60
    assert all(r.created_at == record[0].created_at for r in record)
    assert record[0].updated_at.ToNanoseconds() < record[1].updated_at.ToNanoseconds()
    assert record[1].updated_at == record[2].updated_at


def test_a_repeated_metadata_key_is_answered_one_way_or_the_other(stub, workspace):
    """Not told by the contract which of two workspaces stands; the call must just end."""
    done = threading.Event()
    pair = metadata(workspace) + metadata("no-such")
    call = stub.GetContacts.future(pb.GetContactsRequest(), metadata=pair, timeout=10)
    call.add_done_callback(lambda _: done.set())
    assert done.wait(10)
    assert call.code() in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND,
                           grpc.StatusCode.INVALID_ARGUMENT)


def test_a_contact_names_at_most_100_lists(stub, workspace, domain):
    contacts = [pb.Contact(email=f"{n}@{domain}", list_ids=[0] * n) for n in (100, 101)]
    at, past = upsert(stub, contacts, workspace).results
    assert at.status == CREATED
    assert (past.error.reason, past.error.field) == ("FIELD_INVALID", "list_ids")
