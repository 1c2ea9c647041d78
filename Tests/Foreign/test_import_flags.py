"""What `contacts import` asks of a server, by stock gRPC that writes it down.

CONTACTS names the binary.
"""

import concurrent.futures
import json
import os
import subprocess
import uuid

import harness  # noqa: F401, sets up gRPC for a process that starts others

import grpc
import pytest

from stubs import REPOSITORY, pb, rpc

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")


class FakeService(rpc.ContactServiceServicer):
    """Creates every contact; keeps the options and the contacts of each call."""

    def __init__(self):
        self.options, self.contacts = [], []

    def BulkUpsert(self, requests, context):
        first = next(requests)
        self.options.append(first.options)
        yield pb.BulkUpsertResponse(started=pb.BulkUpsertStarted(
            import_id=first.options.import_id or "made", options=first.options,
            limits=pb.Limits(
                max_message_bytes=4 << 20, max_contacts_per_message=10_000,
                max_unacknowledged_contacts=60_000)))
        sequence = 0
        for request in requests:
            self.contacts += request.contacts
            results = pb.BulkUpsertResults()
            for _ in request.contacts:
                sequence += 1
                results.results.add(
                    sequence=sequence, status=pb.UPSERT_STATUS_CREATED,
                    id=f"0190163d-8694-739b-aea5-{sequence:012x}")
            results.committed_through = sequence
            yield pb.BulkUpsertResponse(results=results)
        yield pb.BulkUpsertResponse(
            summary=pb.BulkUpsertSummary(total=sequence, committed_through=sequence))


@pytest.fixture
def fake():
    service = FakeService()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(8))
    rpc.add_ContactServiceServicer_to_server(service, server)
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield service
    server.stop(None)


def run(fake, path, *flags):
    return subprocess.run(
        [CONTACTS, "import", str(path), "--server", fake.address, "--progress", "none", "--json",
         *flags], capture_output=True, text=True, timeout=60)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('email,fields\na@x.example,"{""n"":5.0,""i"":5}"\nb@x.example,\n')
    return path


def test_the_defaults(fake, path):
    assert run(fake, path).returncode == 0
    # An import that can be gone on with has a name.
    uuid.UUID(fake.options[0].import_id)
    fake.options[0].import_id = ""
    assert fake.options == [pb.UpsertOptions(
        match_by=pb.MATCH_BY_EMAIL, write_mode=pb.WRITE_MODE_MERGE,
        existence=pb.EXISTENCE_UPSERT, results=pb.RESULT_MODE_ALL)]
    assert fake.contacts == [
        pb.Contact(email="a@x.example", fields=[
            pb.CustomField(name="n", number_value=5), pb.CustomField(name="i", integer_value=5)]),
        pb.Contact(email="b@x.example")]


def test_every_flag(fake, path):
    done = run(
        fake, path, "--dry-run", "--list", "3", "--list", "9223372036854775807",
        "--run-workflow", "--import-id", "mine é", "--label", "from=a=b", "--label", "empty=",
        "--existence", "create-only", "--max-failures", "7", "--mode", "replace",
        "--match-by", "email", "--dial-code", "44")
    assert done.returncode == 0, done.stderr
    assert fake.options == [pb.UpsertOptions(
        import_id="mine é", match_by=pb.MATCH_BY_EMAIL, write_mode=pb.WRITE_MODE_REPLACE,
        existence=pb.EXISTENCE_CREATE_ONLY, default_dial_code="44",
        list_ids=[3, 2**63 - 1], run_workflow=True, validate_only=True,
        results=pb.RESULT_MODE_ALL, max_failures=7, labels={"from": "a=b", "empty": ""})]
    assert json.loads(done.stdout)["dry_run"] is True
    assert "a dry run, nothing is stored" in done.stderr
    assert "would be created" in done.stderr


@pytest.mark.parametrize("flags, words", [
    (("--import-id", "a", "--streams", "2"), "--import-id"), (("--import-id", ""), "--import-id"),
    (("--label", "a"), "--label"), (("--label", "=a"), "--label"),
    (("--max-failures", "0"), "--max-failures"), (("--existence", "never"), "--existence"),
    (("--list", "x"), "--list"), (("--retry-for", "-1"), "--retry-for"),
])
def test_flags_that_mean_nothing_are_refused(flags, words, path):
    done = subprocess.run(
        [CONTACTS, "import", str(path), *flags], capture_output=True, text=True, timeout=60)
    assert done.returncode == 64
    assert words in done.stderr
