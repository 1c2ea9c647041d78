"""Keys: who may call, what for, and until when."""

import pathlib
import re
import subprocess
import threading
import time

import grpc
import pytest

import harness
from harness import CREATED, failing, request, wait_until
from fault_tools import SERVING, health
from keys import CALLS, bearer, key_command, make_key, revoke
from stubs import pb
from test_import import CONTACTS
from wire import SERVICE, Connection, envelope

CANARY = "canary-7f3a@secret.example"


@pytest.fixture(scope="module")
def guarded():
    """A server that demands keys, since one was made."""
    server = harness.Server()
    server.key = make_key(server, "first")
    wait_until(lambda: refused(server, []), what="the demand of keys")
    yield server
    server.close()


def refused(server, metadata):
    try:
        server.stub.ListLists(pb.ListListsRequest(), metadata=metadata, timeout=20)
    except grpc.RpcError as error:
        return error
    return None


def lists(server, metadata):
    return server.stub.ListLists(pb.ListListsRequest(), metadata=metadata, timeout=20)


def upsert_with(server, metadata, *contacts):
    return server.stub.UpsertContacts(
        pb.UpsertContactsRequest(contacts=contacts), metadata=metadata, timeout=20)


def test_without_any_key_none_is_needed(own_servers):
    server = own_servers()
    assert refused(server, []) is None
    # But one that is presented has to be good.
    assert refused(server, bearer("x")).code() == grpc.StatusCode.UNAUTHENTICATED
    key = make_key(server)
    lists(server, bearer(key))
    wait_until(lambda: refused(server, []), seconds=5, what="the demand of keys")
    revoke(server, key)
    wait_until(lambda: refused(server, bearer(key)), seconds=5, what="the end of the key")
    assert refused(server, []).code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(("auth", "is_needed"), [("always", True), ("never", False)])
def test_a_key_is_needed_always_or_never(own_servers, auth, is_needed):
    server = own_servers(arguments=["--auth", auth])
    assert (refused(server, []) is not None) == is_needed
    key = make_key(server)
    lists(server, bearer(key))
    time.sleep(1.2)  # The table is read again meanwhile.
    assert (refused(server, []) is not None) == is_needed


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_beyond_loopback_a_key_is_always_needed(own_servers, listen):
    server = own_servers(arguments=["--listen", listen, "--clear-text"])
    channel = grpc.insecure_channel(f"127.0.0.1:{server.address.rsplit(':', 1)[1]}")
    with failing(grpc.StatusCode.UNAUTHENTICATED):
        harness.rpc.ContactServiceStub(channel).ListLists(pb.ListListsRequest(), timeout=20)
    channel.close()


@pytest.mark.parametrize("field", ["authorization", "apikey", "autopilotapikey"])
def test_the_metadata_that_callers_are_used_to(guarded, field):
    text = f"bearer {guarded.key}" if field == "authorization" else guarded.key
    lists(guarded, [(field, text)])
    lists(guarded, [(field, text), ("apikey", guarded.key)])


def test_all_that_is_no_good_key_has_one_answer(guarded):
    expired = make_key(guarded, "short", "default", "--expires-in", "1s")
    gone = make_key(guarded, "gone")
    lists(guarded, bearer(gone))
    revoke(guarded, gone)
    wait_until(lambda: refused(guarded, bearer(gone)), seconds=5, what="the end of the key")
    wait_until(lambda: refused(guarded, bearer(expired)), seconds=5, what="the expiry")
    other = guarded.key[:-1] + ("0" if guarded.key[-1] != "0" else "1")
    unknown = "ck_" + "0" * 16 + "_" + "0" * 64
    answers = set()
    for metadata in [
            [], bearer(gone), bearer(expired), bearer(other), bearer(unknown),
            bearer("x" * 5000), [("authorization", "Basic abc")], [("authorization", guarded.key)],
            [("apikey", guarded.key.upper())], [("apikey", "")],
            bearer(guarded.key) + [("apikey", unknown)], bearer(unknown) + bearer(guarded.key)]:
        error = refused(guarded, metadata)
        assert error is not None, metadata
        answers.add((error.code(), error.details(), tuple(error.trailing_metadata() or ())))
    assert len(answers) == 1, answers
    assert answers.pop()[0] == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("name", CALLS)
def test_no_call_is_answered_without_a_key(guarded, name):
    with failing(grpc.StatusCode.UNAUTHENTICATED):
        CALLS[name](guarded.stub, [])


WRITES = {"BulkUpsert", "UpsertContacts", "CreateList", "DeleteList"}
EITHER = {"GetImport", "ListImports", "ListLists"}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("rights", ["write", "read", "admin", "write,read"])
def test_rights(guarded, name, rights):
    workspace = guarded.create_workspace()
    key = make_key(guarded, rights, workspace, "--rights", rights)
    may = ("admin" in rights or name in EITHER
           or ("write" if name in WRITES else "read") in rights)
    try:
        CALLS[name](guarded.stub, bearer(key))
        code = grpc.StatusCode.OK
    except grpc.RpcError as error:
        code = error.code()
    if may:
        assert code in (grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND), code
    else:
        assert code == grpc.StatusCode.PERMISSION_DENIED


def test_health_needs_no_key(guarded):
    assert health(guarded) == SERVING


def test_a_key_opens_its_own_workspace_and_no_other(guarded):
    mine, other = guarded.create_workspace(), guarded.create_workspace()
    key = make_key(guarded, "mine", mine)
    contact = pb.Contact(email="a@b.example")
    assert upsert_with(guarded, bearer(key), contact).results[0].status == CREATED
    assert len(guarded.rows(mine)) == 1 and not guarded.rows(other) and not guarded.rows("default")
    lists(guarded, bearer(key) + [("contacts-workspace", mine)])
    answers = set()
    for named in (other, "nobody-has-this"):
        error = refused(guarded, bearer(key) + [("contacts-workspace", named)])
        answers.add((error.code(), error.details().replace(named, "NAME")))
    assert len(answers) == 1 and answers.pop()[0] == grpc.StatusCode.NOT_FOUND


def test_a_revoked_key_ends_open_streams(guarded):
    workspace = guarded.create_workspace()
    key, kept = make_key(guarded, "ends", workspace), make_key(guarded, "stays", workspace)
    hold = threading.Event()

    def messages(import_id):
        yield request([pb.Contact(email=CANARY)], import_id=import_id)
        hold.wait(30)

    calls = {
        name: guarded.stub.BulkUpsert(messages(name), metadata=bearer(used), timeout=60)
        for name, used in {"ends": key, "stays": kept}.items()}
    calls["stays"].initial_metadata()
    watch = guarded.stub.WatchEvents(
        pb.WatchEventsRequest(), metadata=bearer(key), timeout=60)
    watch.initial_metadata()
    call = calls["ends"]
    next(call)
    revoke(guarded, key)
    begun = time.monotonic()
    for ended in (call, watch):
        with failing(grpc.StatusCode.UNAUTHENTICATED):
            for _ in ended:
                pass
    assert time.monotonic() - begun < 5
    # What was taken is committed, and another key goes on with the import.
    wait_until(lambda: len(guarded.rows(workspace)) == 1, what="the contact")
    assert calls["stays"].is_active()
    hold.set()
    list(calls["stays"])
    assert calls["stays"].code() == grpc.StatusCode.OK


def test_a_key_that_expires_ends_open_streams(guarded):
    workspace = guarded.create_workspace()
    begun = time.monotonic()
    key = make_key(guarded, "brief", workspace, "--expires-in", "4s")
    hold = threading.Event()

    def messages():
        yield request([pb.Contact(email="a@b.example")])
        hold.wait(30)

    upsert = guarded.stub.BulkUpsert(messages(), metadata=bearer(key), timeout=60)
    watch = guarded.stub.WatchEvents(pb.WatchEventsRequest(), metadata=bearer(key), timeout=60)
    for ended in (upsert, watch):
        with failing(grpc.StatusCode.UNAUTHENTICATED):
            for _ in ended:
                pass
    assert 3.9 < time.monotonic() - begun < 4 + 5 + 1
    hold.set()
    assert refused(guarded, bearer(key)).code() == grpc.StatusCode.UNAUTHENTICATED
    assert len(guarded.rows(workspace)) == 1


def test_a_revoked_key_ends_an_export_that_waits_for_its_reader(guarded):
    """The status would wait behind the contacts that were sent: the stream is reset."""
    workspace = guarded.create_workspace()
    key = make_key(guarded, "exports", workspace)
    for start in range(0, 20_000, 5000):
        upsert_with(guarded, bearer(key), *(
            pb.Contact(email=f"{n}@export.example", name="x" * 100)
            for n in range(start, start + 5000)))
    with Connection(guarded, window=65_535, reads=False) as wire:
        stream = wire.open("/contacts.v1.ContactService/ExportContacts", bearer(key))
        wire.send(stream, envelope(pb.ExportContactsRequest()), end=True)
        wire.wait(stream, lambda answer: len(answer.body) > 60_000)
        revoke(guarded, key)
        answer = wire.wait(stream, seconds=5)
    assert answer.reset == 8 and len(answer.body) < 100_000


def test_the_commands_list_and_refuse(guarded):
    workspace = guarded.create_workspace()
    key = make_key(guarded, "the name", workspace, "--contacts-per-second", "5", "--streams", "2")
    listed = key_command(guarded, "list", "--workspace", workspace)
    line, = listed.stdout.splitlines()[1:]
    assert line.split()[:4] == [key.split("_")[1], workspace, "write,read", "good"]
    assert line.endswith("the name") and " 5 " in line and " 2 " in line
    assert key.split("_")[2] not in listed.stdout + listed.stderr
    for arguments, word in [
            (["create", "--workspace", workspace, "--name", "the name"], "revoke it first"),
            (["create", "--workspace", "nobody-has-this", "--name", "x"], "workspace create"),
            (["create", "--workspace", workspace, "--name", "x", "--rights", "all"], "--rights"),
            (["create", "--workspace", workspace, "--name", ""], "--name"),
            (["create", "--workspace", workspace, "--name", "x", "--streams", "0"], "--streams"),
            (["create", "--workspace", workspace], "--name"),
            (["revoke"], "--name"), (["revoke", "0" * 16], "key list"),
            (["revoke", key], "not the key itself"), (["revoke", "--name", "x"], "--workspace")]:
        done = key_command(guarded, *arguments)
        assert done.returncode != 0 and word in done.stderr, (arguments, done.stderr)
        assert not done.stdout and key.split("_")[2] not in done.stderr
    done = key_command(guarded, "revoke", "--workspace", workspace, "--name", "the name")
    assert done.returncode == 0, done.stderr
    assert "revoked" in key_command(guarded, "list", "--workspace", workspace).stdout
    make_key(guarded, "the name", workspace)


def test_streams_of_a_key_are_limited(guarded):
    workspace = guarded.create_workspace()
    key = make_key(guarded, "two", workspace, "--streams", "2")
    hold = threading.Event()

    def messages():
        yield request([pb.Contact(email="a@b.example")])
        hold.wait(30)

    calls = [guarded.stub.BulkUpsert(messages(), metadata=bearer(key), timeout=60)
             for _ in range(2)]
    for call in calls:
        next(call)
    assert refused(guarded, bearer(key)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    lists(guarded, bearer(guarded.key))
    hold.set()
    for call in calls:
        list(call)
    wait_until(lambda: not refused(guarded, bearer(key)), what="the place of an ended call")


def test_the_rate_of_a_key_slows_its_streams(guarded):
    workspace = guarded.create_workspace()
    key = make_key(guarded, "slow", workspace, "--contacts-per-second", "500")
    messages = [
        request([pb.Contact(email=f"n{n}@b.example") for n in range(start, start + 100)])
        for start in range(0, 2500, 100)]
    begun = time.monotonic()
    call = guarded.stub.BulkUpsert(iter(messages), metadata=bearer(key), timeout=60)
    results = 0
    was_refused = False
    for response in call:
        results += len(response.results.results)
        error = refused_upsert(guarded, key)
        was_refused = was_refused or (
            error is not None and error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED)
    took = time.monotonic() - begun
    # A second's worth at once, then 500 a second.
    assert results == 2500 and 3 < took < 20, (results, took)
    assert was_refused


@pytest.mark.parametrize("method", ["BulkUpsert", "UpsertContacts"])
def test_the_rate_of_a_key_holds_for_calls_that_begin_together(guarded, method):
    """Their heads pass while nothing is taken; then each brings more than a second's worth."""
    workspace = guarded.create_workspace()
    key = make_key(guarded, "together", workspace, "--contacts-per-second", "100")
    kind = pb.BulkUpsertRequest if method == "BulkUpsert" else pb.UpsertContactsRequest
    fields = [(name.lower(), value) for name, value in bearer(key)]
    with Connection(guarded) as wire:
        streams = [wire.open(SERVICE + method, headers=fields) for _ in range(10)]
        begun = time.monotonic()
        for number, stream in enumerate(streams):
            message = kind(contacts=[
                pb.Contact(email=f"n{n}@{number}.example") for n in range(200)])
            wire.send(stream, envelope(message), end=True)
        wait_until(lambda: len(guarded.rows(workspace)) >= 400, 10, "the second call's")
        assert time.monotonic() - begun > 0.9
        # The first of them may pass at once, the second after a second, another every two.
        time.sleep(2)
        seconds = time.monotonic() - begun
        assert len(guarded.rows(workspace)) <= 200 * (2 + seconds / 2)


def refused_upsert(server, key):
    try:
        upsert_with(server, bearer(key), pb.Contact(email="again@b.example"))
    except grpc.RpcError as error:
        return error
    return None


def test_secrets_and_contacts_are_told_to_nobody(guarded):
    workspace = guarded.create_workspace()
    key = make_key(guarded, "secret", workspace)
    secret = key.split("_")[2]
    bad = pb.Contact(email=CANARY + "@", name=CANARY)
    texts = [str(refused(guarded, bearer(key[:-1] + "x"))),
             str(refused(guarded, bearer(key) + [("contacts-workspace", "x")]))]
    upsert_with(guarded, bearer(key), bad, pb.Contact(email=CANARY))
    channel = grpc.insecure_channel(guarded.address)
    raw = channel.unary_unary("/contacts.v1.ContactService/UpsertContacts")
    with pytest.raises(grpc.RpcError) as failure:
        raw(CANARY.encode(), metadata=bearer(key), timeout=20)
    texts.append(str(failure.value))
    texts.append(subprocess.run(
        ["ps", "-eo", "args", "-ww"], capture_output=True, text=True, check=True).stdout)
    texts.append(pathlib.Path(f"/proc/{guarded.pid}/environ").read_text(errors="replace"))
    texts.append("".join(guarded.log))
    for text in texts:
        assert secret not in text and CANARY not in text
    channel.close()


def test_a_dump_of_the_database_holds_no_key(guarded):
    key = make_key(guarded, "dumped")
    dump = subprocess.run(
        ["/usr/lib/postgresql/15/bin/pg_dump", guarded.conninfo()],
        capture_output=True, text=True, check=True).stdout
    assert "access_keys" in dump and key.split("_")[1] in dump
    assert key.split("_")[2] not in dump
    assert not re.search(r"ck_[0-9a-f]{16}_", dump)


def test_the_client_reads_its_key_from_a_file(guarded, tmp_path):
    workspace = guarded.create_workspace()
    place = tmp_path / "key"
    place.write_text(make_key(guarded, "cli", workspace) + "\n")
    rows = tmp_path / "a.csv"
    rows.write_text("email\na@b.example\n")
    done = harness.run(
        [CONTACTS, "import", str(rows), "--server", guarded.address, "--key-file", str(place)])
    assert done.returncode == 0, done.stderr
    assert len(guarded.rows(workspace)) == 1
    done = harness.run([CONTACTS, "import", str(rows), "--server", guarded.address])
    assert done.returncode != 0 and "a key is needed" in done.stderr
    for text, word in [("", "does not hold a key"), ("two words", "does not hold a key")]:
        place.write_text(text)
        done = harness.run(
            [CONTACTS, "get", "a@b.example", "--server", guarded.address, "--key-file", str(place)])
        assert done.returncode != 0 and word in done.stderr
