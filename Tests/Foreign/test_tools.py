"""Tools that others use: buf curl, curl, nghttp and h2load."""

import json
import re
import shutil
import subprocess
import sysconfig

import pytest

from harness import get, request
from stubs import PROTO, pb
from wire import envelope

BUF = shutil.which("buf", path=sysconfig.get_path("scripts")) or shutil.which("buf") or "buf"


def run(*arguments, stdin=None, text=True):
    return subprocess.run(
        arguments, input=stdin, capture_output=True, text=text, timeout=60)


def buf_curl(server, method, *messages, headers=()):
    arguments = [BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc",
                 "--schema", str(PROTO)]
    for header in headers:
        arguments += ["-H", header]
    arguments += ["-d", "@-", f"http://{server.address}/contacts.v1.ContactService/{method}"]
    return run(*arguments, stdin="\n".join(json.dumps(message) for message in messages))


def documents(text):
    decoder, out, at = json.JSONDecoder(), [], 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        out.append(document)
    return out


def test_buf_curl_streams_contacts_and_reads_the_results(server, domain):
    done = buf_curl(
        server, "BulkUpsert",
        {"options": {"defaultDialCode": "1"}},
        {"contacts": [{"email": f"A@{domain}", "name": "Ann", "phone": "6175551212"},
                      {"email": "bad"}]},
        {"firstSequence": 3, "contacts": [
            {"email": f"b@{domain}", "fields": [{"name": "n", "integerValue": "5"}]}]})
    assert done.returncode == 0, done.stderr
    answers = documents(done.stdout)
    assert set(answers[0]) == {"started"}
    results = [r for a in answers for r in a.get("results", {}).get("results", [])]
    assert [(r["sequence"], r["status"]) for r in results] == [
        ("1", "UPSERT_STATUS_CREATED"), ("2", "UPSERT_STATUS_FAILED"),
        ("3", "UPSERT_STATUS_CREATED")]
    assert results[1]["error"]["reason"] == "EMAIL_INVALID"
    assert answers[-1]["summary"]["failedByReason"] == {"EMAIL_INVALID": "1"}


def test_buf_curl_upserts_and_gets_contacts(server, domain):
    done = buf_curl(server, "UpsertContacts", {"contacts": [
        {"email": f"a@{domain}", "name": "Анна", "fields": [
            {"name": "t", "timestampValue": "2020-02-29T12:00:00.5Z"},
            {"name": "d", "numberValue": 0.1}]}]})
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)["results"][0]["id"]
    done = buf_curl(server, "GetContacts", {"keys": [{"id": made}, {"email": f"x@{domain}"}]})
    assert done.returncode == 0, done.stderr
    entries = json.loads(done.stdout)["entries"]
    assert entries[0]["found"] and not entries[1].get("found")
    contact = entries[0]["record"]["contact"]
    assert contact["name"] == "Анна"
    assert sorted(contact["fields"], key=lambda f: f["name"]) == [
        {"name": "d", "numberValue": 0.1},
        {"name": "t", "timestampValue": "2020-02-29T12:00:00.500Z"}]


def test_buf_curl_tells_the_code_of_an_error_and_fails(server):
    done = buf_curl(server, "UpsertContacts", {"options": {"defaultDialCode": "x"}})
    assert done.returncode != 0
    assert "invalid_argument" in done.stderr
    done = buf_curl(server, "GetContacts", {}, headers=["contacts-workspace: no-such"])
    assert done.returncode != 0
    assert "not_found" in done.stderr


def test_buf_finds_nothing_to_say_about_the_proto():
    done = run(BUF, "lint", str(PROTO))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def body(tmp_path, domain):
    path = tmp_path / "body"
    message = pb.UpsertContactsRequest(contacts=[pb.Contact(email=f"a@{domain}")])
    path.write_bytes(envelope(message))
    return path


def curl(server, path, *arguments):
    return run("curl", "-sS", "--http2-prior-knowledge", "--max-time", "20",
               f"http://{server.address}{path}", *arguments, text=False)


def test_curl_gets_an_answer_with_its_trailers(server, stub, body, domain, tmp_path):
    head = tmp_path / "head"
    done = curl(server, "/contacts.v1.ContactService/UpsertContacts", "-D", str(head),
                "-H", "content-type: application/grpc", "-H", "te: trailers",
                "--data-binary", f"@{body}")
    assert done.returncode == 0, done.stderr
    text = head.read_text()
    assert text.startswith("HTTP/2 200")
    assert re.search(r"^grpc-status: 0\s*$", text, re.M), text
    response = pb.UpsertContactsResponse.FromString(done.stdout[5:])
    assert response.results[0].id == get(stub, {"email": f"a@{domain}"})[0].record.contact.id


def test_curl_without_grpc_is_told_the_http_status(server, tmp_path):
    path = "/contacts.v1.ContactService/UpsertContacts"
    code = ("-o", str(tmp_path / "out"), "-w", "%{http_code}")
    assert curl(server, path, *code, "-d", "{}").stdout == b"415"
    assert curl(server, path, *code).stdout == b"405"


def test_nghttp_gets_an_answer(server, body):
    done = run("nghttp", "-v", "-t", "20", "-d", str(body), "-H", ":method: POST",
               "-H", "content-type: application/grpc", "-H", "te: trailers",
               f"http://{server.address}/contacts.v1.ContactService/UpsertContacts")
    assert done.returncode == 0
    assert re.search(r"grpc-status: 0\b", done.stdout), done.stdout


def test_h2load_sees_every_call_succeed(server, body):
    done = run("h2load", "-n", "400", "-c", "4", "-m", "10", "-d", str(body), "-T", "30",
               "-H", "content-type: application/grpc", "-H", "te: trailers",
               f"http://{server.address}/contacts.v1.ContactService/UpsertContacts")
    assert done.returncode == 0
    assert "400 succeeded, 0 failed, 0 errored, 0 timeout" in done.stdout, done.stdout


def test_the_published_proto_imports_nothing_but_google_protobuf():
    for path in PROTO.rglob("*.proto"):
        for name in re.findall(r'^import\s+(?:public\s+)?"([^"]+)"', path.read_text(), re.M):
            assert name.startswith("google/protobuf/")
    assert request().SerializeToString() == b""
