"""Every row of the contract's tables and the test that proves it.

The table below is the index: a row, and one or more tests as `file::test`. `test_the_index_is_true`
checks that each of them exists. What needs no more than one short test stands in this file.
"""

import ast
import pathlib

import grpc
import pytest

from harness import (CREATED, FAILED, UNCHANGED, UPDATED, LiveCall, bulk, failing, get, request,
                     upsert)
from stubs import pb

HERE = pathlib.Path(__file__).parent

INDEX = """
service BulkUpsert: stream::every_contact_of_a_long_stream_gets_one_result_and_a_second_run_changes_nothing
service UpsertContacts: unary::ten_thousand_contacts_are_answered_in_order_and_found_again
service GetImport, ListImports: resume::service_get_import_and_list_imports
service GetContacts: unary::contacts_are_found_by_each_identifier_in_any_notation_and_in_order
service ExportContacts: services::service_export_contacts_tells_everything_in_order services::service_export_contacts_of_nothing
service CreateList, ListLists: services::service_create_list_and_list_lists
service DeleteList: services::service_delete_list_keeps_its_contacts
service WatchEvents: events::eight_writers_and_a_watcher_that_dies_ten_times
service Health: health::a_server_that_can_commit_is_serving

sequence, the next number or 0: stream::first_sequence_may_be_zero_or_the_next_number
sequence, a gap: stream::another_number_than_the_next_ends_the_call_and_names_the_expected_one

option import_id: resume::option_import_id_empty_is_made_by_the_server resume::option_import_id_of_the_client_is_kept resume::option_import_id_of_129_characters_is_refused
option match_by EMAIL: contract::option_match_by_email_is_the_default
option match_by PHONE: options::contacts_are_matched_by_phone
option match_by EXTERNAL_ID: options::contacts_are_matched_by_external_id_which_is_kept_as_it_is
option match_by ID: rules::option_match_by_id_updates_and_creates_nothing rules::option_match_by_id_with_replace_clears_the_identifiers_that_are_absent
option write_mode MERGE: options::merge_leaves_what_is_absent_and_clears_what_is_empty
option write_mode REPLACE: options::replace_clears_what_is_absent
option existence UPSERT: contract::option_existence_upsert_is_the_default
option existence CREATE_ONLY: options::create_only_refuses_what_is_there_with_its_id rules::option_existence_create_only_by_id_is_contradictory
option existence UPDATE_ONLY: options::update_only_refuses_what_is_not_there
option default_dial_code: options::the_default_dial_code_completes_national_numbers contract::option_default_dial_code_with_1_both_forms_are_one_number
option list_ids: rules::option_list_ids_every_contact_joins_and_none_leaves options::an_unknown_list_of_the_import_is_not_found_and_nothing_is_written
option run_workflow: events::option_run_workflow_writes_an_event_for_each_contact_created_or_updated events::option_run_workflow_false_writes_none events::option_run_workflow_in_a_unary_call
option validate_only: dry_run::option_validate_only_predicts_a_large_import_and_leaves_no_trace dry_run::option_validate_only_predicts_renames_onto_identifiers_that_are_taken_or_given_up dry_run::option_validate_only_in_a_unary_call dry_run::option_validate_only_knows_no_import_by_its_id
option validate_only, locks: dry_run::option_validate_only_holds_no_lock_that_a_writer_waits_for dry_run::option_validate_only_waits_for_no_writer
option results ALL: stream::results_come_while_the_client_still_sends
option results FAILURES: options::results_can_be_only_the_failures
option results SUMMARY: options::results_can_be_only_the_summary
option results, committed_through each second: options::committed_through_comes_within_a_second_of_progress_in_each_mode
option max_failures: options::an_import_stops_when_so_many_contacts_have_failed contract::option_max_failures_zero_is_no_limit
option labels: resume::option_labels_are_kept_with_the_import

contact, presence: options::merge_leaves_what_is_absent_and_clears_what_is_empty
contact, kinds of custom fields: fields::a_value_comes_back_with_its_kind_and_to_the_last_bit

rule match_by identifier: rules::reason
rule existence: rules::reason
rule email: stream::the_rows_equal_what_was_sent rules::limit rules::reason
rule phone: stream::the_rows_equal_what_was_sent rules::limit rules::reason
rule text: rules::limit_of_names_is_the_published_one wire::text_that_is_not_utf8_fails_its_contact_alone rules::reason
rule custom field: rules::limit fields::a_contact_of_a_hundred_kibibytes_is_taken_and_a_larger_one_fails_alone rules::reason
rule lists, on a contact: rules::reason services::lists_of_another_workspace_are_unknown
rule lists, on the import: options::an_unknown_list_of_the_import_is_not_found_and_nothing_is_written services::an_unknown_list_of_the_import_leaves_no_import
rule other identifiers: options::an_identifier_that_another_contact_has_is_taken rules::reason
rule match_by is unique: options::matching_by_what_is_not_unique_is_a_failed_precondition
rule uniqueness is the workspace's: options::a_standard_identifier_that_is_not_unique_may_be_shared

response 1: pressure::a_cancelled_stream_keeps_what_was_acknowledged resume::rule_6_resume_is_exact_after_a_break
response 2: stream::every_contact_of_a_long_stream_gets_one_result_and_a_second_run_changes_nothing
response 3: stream::every_tenth_contact_is_bad_and_the_others_are_stored rules::reason
response 4: grouping::rule_4_grouping_is_invisible stream::a_key_that_comes_a_thousand_times_ends_as_the_last_one_says model::random_imports_do_what_the_model_does
response 5: database::what_a_stream_through_repeated_restarts_is_answered_is_true
response 6, resume: resume::rule_6_a_resumed_import_goes_on_where_started_says resume::rule_6_resume_is_exact_after_a_break
response 6, replay: resume::rule_6_a_replay_changes_nothing_whoever_has_changed_the_contacts_since
response 6, fence: resume::rule_6_a_second_live_stream_fences_the_first resume::rule_6_an_idle_stream_that_was_fenced_is_told
response 6, other options: resume::point_other_options_are_a_failed_precondition
response 7: pressure::many_clients_that_never_read_keep_the_server_small pressure::a_client_that_reads_late_gets_every_result events::a_watcher_that_never_reads_holds_nobody_up
response 8: shutdown::sigterm_in_mid_stream_answers_what_was_taken_and_ends_with_unavailable

point when started comes: stream::started_comes_first_and_tells_the_options_in_force_and_the_limits stream::the_response_headers_come_before_any_request_message
point numbering in one call: resume::point_numbering_a_known_import_demands_first_sequence resume::point_numbering_first_sequence_may_be_zero_while_nothing_is_committed
point REPLAYED: resume::rule_6_a_replay_changes_nothing_whoever_has_changed_the_contacts_since
point an import that ended: resume::point_an_import_that_ended_can_be_called_again
point other options: resume::point_other_options_are_a_failed_precondition resume::point_other_options_validate_only_is_one_of_them resume::point_other_options_the_default_said_aloud_is_the_same_option resume::point_other_options_results_max_failures_and_labels_may_differ
point endings: options::an_import_stops_when_so_many_contacts_have_failed shutdown::sigterm_sends_goaway_and_a_summary_to_an_idle_stream stream::a_stream_of_empty_messages_is_a_call_without_contacts
point max_failures n: options::the_failure_that_reaches_max_failures_stops_the_import options::a_failure_that_a_lane_finds_counts_after_the_half_close_too contract::point_max_failures_one_is_the_first_failure
point id under another match_by: rules::reason
point several faults in one contact: stream::of_several_faults_the_first_in_the_published_order_is_told rules::point_several_faults_with_lists_existence_and_taken
point email: stream::the_rows_equal_what_was_sent stream::every_tenth_contact_is_bad_and_the_others_are_stored
point phone: stream::the_rows_equal_what_was_sent stream::every_tenth_contact_is_bad_and_the_others_are_stored
point clearing: rules::point_clearing_is_null_in_the_table fields::of_one_name_twice_the_last_stands
point fields in the table: fields::the_database_keeps_json_of_each_kind fields::a_timestamp_comes_back_to_the_microsecond fields::minus_zero_becomes_zero
point lists: rules::option_list_ids_every_contact_joins_and_none_leaves options::list_zero_is_no_list
point events: events::point_events_a_watcher_names_the_last_offset_and_then_waits_for_more events::events_of_another_workspace_are_not_seen
point GetContacts: unary::contacts_are_found_by_each_identifier_in_any_notation_and_in_order
point UpsertContacts: unary::a_key_that_comes_twice_is_applied_in_order resume::point_unary_a_repeated_call_with_an_import_id_answers_replayed
point started.limits: stream::started_comes_first_and_tells_the_options_in_force_and_the_limits
point workspaces: options::an_unknown_workspace_is_not_found services::an_unknown_workspace_is_not_found_by_each_service
point health: health::a_watcher_is_told_when_the_database_goes_and_comes_back health::a_database_that_is_read_only_is_not_served

limit message 4 MiB: wire::a_message_of_exactly_the_limit_is_taken wire::the_header_of_a_message_over_the_limit_is_enough_to_exhaust_resources
limit contacts in a message: stream::a_message_of_ten_thousand_contacts_is_taken_and_a_larger_one_refused
limit contacts in a unary call: unary::ten_thousand_contacts_are_answered_in_order_and_found_again unary::more_than_ten_thousand_contacts_are_an_invalid_argument
limit contact 100 KiB: fields::a_contact_of_a_hundred_kibibytes_is_taken_and_a_larger_one_fails_alone
limit 300 fields: fields::a_contact_may_have_three_hundred_fields_and_not_one_more
limit texts: rules::limit rules::limit_of_names_is_the_published_one

code bad options: options::a_bad_option_is_an_invalid_argument_and_nothing_is_written contract::code_bad_options_write_nothing_and_know_no_import
code over-long unary batch: unary::more_than_ten_thousand_contacts_are_an_invalid_argument
code malformed protobuf: wire::a_malformed_message_is_an_invalid_argument
code database away: database::while_the_database_is_away_calls_end_with_unavailable_and_then_work_again
code deadline over: pressure::a_call_over_its_deadline_ends_and_keeps_what_was_acknowledged
code message over the limit: wire::the_header_of_a_message_over_the_limit_is_enough_to_exhaust_resources
code messages hold no SQL: unary::messages_to_callers_hold_no_sql_and_no_host

seed Autopilot: seeds::autopilot
seed AutoSend: seeds::autosend
seed Sociocs: seeds::sociocs
"""


def rows():
    for line in INDEX.strip().splitlines():
        if line:
            row, tests = line.split(": ", 1)
            yield row, tests.split()


@pytest.mark.parametrize(("row", "tests"), list(rows()), ids=[row for row, _ in rows()])
def test_the_index_is_true(row, tests):
    """Each test that the index names exists; one that proves a row by its name says so."""
    assert tests
    for named in tests:
        file, test = named.split("::")
        tree = ast.parse((HERE / f"test_{file}.py").read_text())
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert f"test_{test}" in functions, named


def test_no_row_is_told_twice():
    names = [row for row, _ in rows()]
    assert len(set(names)) == len(names)


def test_option_match_by_email_is_the_default(stub, workspace):
    """contract: option `match_by`, EMAIL: the first value is the default, named or not."""
    contact = pb.Contact(email="A@B.example", phone="+16175551212", external_id="x")
    statuses = []
    for options in ({}, {"match_by": pb.MATCH_BY_UNSPECIFIED}, {"match_by": pb.MATCH_BY_EMAIL}):
        outcome = bulk(stub, [request([contact], **options)], workspace).check_ok(1)
        assert outcome.started.options.match_by == pb.MATCH_BY_EMAIL
        statuses += outcome.statuses
    assert statuses == [CREATED, UNCHANGED, UNCHANGED]


@pytest.mark.parametrize("existence", [pb.EXISTENCE_UNSPECIFIED, pb.EXISTENCE_UPSERT])
@pytest.mark.parametrize("write_mode", [pb.WRITE_MODE_UNSPECIFIED, pb.WRITE_MODE_MERGE])
def test_option_existence_upsert_is_the_default(stub, workspace, existence, write_mode):
    """contract: option `existence`, UPSERT; option `write_mode`, MERGE, is the default too."""
    options = {"existence": existence, "write_mode": write_mode}
    sent = [pb.Contact(email="a@b.example", name="x", last_name="y"),
            pb.Contact(email="a@b.example", name="z"), pb.Contact(email="b@b.example")]
    assert [r.status for r in upsert(stub, sent, workspace, **options).results] == [
        CREATED, UPDATED, CREATED]
    stored = get(stub, {"email": "a@b.example"}, workspace=workspace)[0].record.contact
    assert (stored.name, stored.last_name) == ("z", "y")


def test_option_default_dial_code_with_1_both_forms_are_one_number(stub, workspace_of):
    """contract: option `default_dial_code`; the rule's own example, as a key."""
    workspace = workspace_of("phone")
    options = {"match_by": pb.MATCH_BY_PHONE, "default_dial_code": "1"}
    sent = [pb.Contact(phone="6175551212"), pb.Contact(phone="16175551212")]
    assert [r.status for r in upsert(stub, sent, workspace, **options).results] == [CREATED, UNCHANGED]
    entry = get(stub, {"phone": "+16175551212"}, workspace=workspace)[0]
    assert entry.record.contact.phone == "+16175551212"


def test_option_max_failures_zero_is_no_limit(stub, workspace):
    """contract: option `max_failures`, the default."""
    outcome = bulk(stub, [request([pb.Contact()] * 500, max_failures=0)], workspace).check_ok(500)
    assert outcome.summary.failed == 500


def test_point_max_failures_one_is_the_first_failure(server, stub, workspace):
    """contract: point `max_failures` n: the import stops when the n-th contact has failed."""
    call = LiveCall(stub, workspace)
    call.send(request([pb.Contact(email="a@b.example")], max_failures=1))
    call.read_results(1)
    call.send(request([pb.Contact(email="bad")]))
    outcome = call.finish()
    assert outcome.code == grpc.StatusCode.FAILED_PRECONDITION
    outcome.check_all(2)
    assert outcome.statuses == [CREATED, FAILED]
    assert len(server.rows(workspace)) == 1


@pytest.mark.parametrize("options", [
    {"match_by": 9}, {"write_mode": 9}, {"existence": 9}, {"results": 9}, {"default_dial_code": "x"}],
    ids=lambda o: next(iter(o)))
def test_code_bad_options_write_nothing_and_know_no_import(stub, workspace, options):
    """contract: code INVALID_ARGUMENT for bad options, before anything is written."""
    outcome = bulk(stub, [request([pb.Contact(email="a@b.example")], import_id="mine", **options)],
                   workspace)
    assert (outcome.code, outcome.results) == (grpc.StatusCode.INVALID_ARGUMENT, [])
    with failing(grpc.StatusCode.NOT_FOUND):
        stub.GetImport(pb.GetImportRequest(import_id="mine"),
                       metadata=[("contacts-workspace", workspace)], timeout=60)
