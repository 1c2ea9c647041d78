"""TLS by foreign clients: grpcio, Python's ssl (OpenSSL), curl and nghttp; and our own client."""

import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import time
import urllib.request

import grpc
import pytest

import harness
import wire
from certificates import Authority
from harness import CREATED, LiveCall, bulk, failing, request, run, upsert, wait_until
from stubs import REPOSITORY, pb, rpc

CONTACTS = os.environ.get("CONTACTS") or str(REPOSITORY / ".build/debug/contacts")
UNAVAILABLE = 69
# What the server allows a handshake, and how soon it sees that a file has changed.
HANDSHAKE_SECONDS = 5
RELOAD_SECONDS = 10


@pytest.fixture(scope="module")
def directory():
    directory = harness.new_directory()
    yield pathlib.Path(directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def authority(directory):
    return Authority(directory)


@pytest.fixture(scope="module")
def other_authority(directory):
    return Authority(directory, "Somebody Else")


class SecureServer(harness.Server):
    """A server with TLS; `stub` speaks it."""

    def __init__(self, authority, pair, *arguments, client=None, **settings):
        super().__init__(
            arguments=["--tls-certificate", pair.certificate, "--tls-key", pair.key, *arguments],
            **settings)
        self.authority = authority
        self.channel.close()
        self.channel = self.connect_securely(client=client)
        self.stub = rpc.ContactServiceStub(self.channel)

    def connect_securely(self, authority=None, client=None):
        """A new channel of grpcio."""
        chain, key = client.bytes if client else (None, None)
        roots = (authority or self.authority).certificate.read_bytes()
        return grpc.secure_channel(
            self.address, grpc.ssl_channel_credentials(roots, key, chain),
            # Channels with the same settings would share a connection.
            [("grpc.use_local_subchannel_pool", 1)])

    def serial(self):
        """The serial number in the certificate that a new connection is shown."""
        with handshake(self) as connection:
            return connection.getpeercert()["serialNumber"]

    def logged(self, text):
        return [line for line in self.log if text in line]


def context(authority, client=None, protocols=("h2",)):
    context = ssl.create_default_context(cafile=authority.certificate)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if client:
        context.load_cert_chain(client.certificate, client.key)
    return context


def handshake(server, settings=None, session=None):
    settings = settings or context(server.authority)
    plain = socket.create_connection((server.host, server.port), timeout=10)
    try:
        return settings.wrap_socket(
            plain, server_hostname="localhost", suppress_ragged_eofs=False, session=session)
    except BaseException:
        plain.close()
        raise


def read_to_end(connection):
    """All that comes until the other side's close_notify; ssl.SSLError without one."""
    received = b""
    while data := connection.recv(1 << 16):
        received += data
    return received


@pytest.fixture(scope="module")
def server(authority):
    pair = authority.issue_server()
    server = SecureServer(authority, pair, "--admin", "127.0.0.1:0")
    yield server
    server.close()


@pytest.fixture(scope="module")
def mutual(authority, directory):
    """A server that demands certificates of its clients."""
    client = authority.issue("client", "URI:spiffe://test.example/importer")
    server = SecureServer(
        authority, authority.issue_server(), "--tls-client-ca", authority.certificate,
        client=client)
    server.client = client
    yield server
    server.close()


def contact(name):
    return pb.Contact(email=f"{name}@tls.example", name=name)


def failed_handshakes(server):
    line = next(line for line in server.log if "admin=" in line)
    admin = re.search(r"admin=(\S+)", line).group(1)
    with urllib.request.urlopen(f"http://{admin}/status", timeout=10) as answer:
        return json.load(answer)["failed_handshakes"]


# What works.


def test_a_stock_client_upserts_and_reads(server):
    answer = upsert(server.stub, [contact("first")])
    assert [r.status for r in answer.results] == [CREATED]
    assert harness.get(server.stub, {"email": "first@tls.example"})[0].record.contact.name == "first"


def test_an_import_of_20000_contacts(server, workspace_name):
    messages = [request([contact(f"{m}-{n}") for n in range(500)]) for m in range(40)]
    outcome = bulk(server.stub, messages, workspace_name).check_ok(20_000)
    assert set(outcome.statuses) == {CREATED}
    assert len(server.rows(workspace_name)) == 20_000


def test_export_of_what_was_imported(server, workspace_name):
    """Much goes the other way: the server's writes meet a full socket."""
    upsert(server.stub, [pb.Contact(email=f"{n}@export.example", name="x" * 900)
                         for n in range(3000)], workspace_name)
    chunks = server.stub.ExportContacts(
        pb.ExportContactsRequest(), metadata=harness.metadata(workspace_name), timeout=60)
    records = [record for chunk in chunks for record in chunk.records]
    assert len(records) == 3000


@pytest.fixture
def workspace_name(server):
    return server.create_workspace()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_both_versions_negotiate_h2(server, version):
    settings = context(server.authority)
    settings.minimum_version = settings.maximum_version = version
    with handshake(server, settings) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        assert "GCM" in connection.cipher()[0] or "CHACHA20" in connection.cipher()[0]
        # The server speaks first: its SETTINGS.
        assert connection.recv(9)[3] == 4


def test_curl_and_nghttp(server):
    address = f"https://localhost:{server.port}/nothing"
    done = run(["curl", "-sv", "--http2", "--cacert", server.authority.certificate,
                "-o", "/dev/null", "-w", "%{http_version} %{http_code}", address])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "2" and done.stdout.split()[1] in ("404", "405"), done.stdout
    done = run(["nghttp", "-nv", "--no-verify-peer", address])
    assert done.returncode == 0 and "The negotiated protocol: h2" in done.stdout, done.stdout
    assert re.search(r":status: 40[45]", done.stdout), done.stdout


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_resumed(mutual, version):
    settings = context(mutual.authority, mutual.client)
    settings.minimum_version = settings.maximum_version = version
    # In TLS 1.3 a ticket comes after the handshake, with the first bytes that are read.
    with handshake(mutual, settings) as first:
        first.recv(9)
        session = first.session
    with handshake(mutual, settings, session) as second:
        assert second.recv(9)[3] == 4
        assert second.session_reused


# Who is refused.


def unavailable(channel):
    with failing(grpc.StatusCode.UNAVAILABLE) as failure:
        upsert(rpc.ContactServiceStub(channel), [contact("never")], timeout=20)
    channel.close()
    return failure.error.details()


def test_a_client_that_does_not_trust_the_server(server, other_authority):
    details = unavailable(server.connect_securely(other_authority))
    assert "CERTIFICATE_VERIFY_FAILED" in details or "handshake" in details.lower(), details


def test_mutual_tls_takes_its_own_clients_alone(mutual, other_authority):
    assert upsert(mutual.stub, [contact("mutual")]).results[0].status == CREATED
    stranger = other_authority.issue("stranger", "URI:spiffe://test.example/importer")
    expired = mutual.authority.issue("expired", "DNS:expired.example", days=-1)
    for client in (None, stranger, expired):
        unavailable(mutual.connect_securely(client=client))
        settings = context(mutual.authority, client)
        # In TLS 1.3 the client is done first, and hears of the refusal when it reads.
        with pytest.raises(ssl.SSLError) as refusal:
            with handshake(mutual, settings) as connection:
                connection.recv(1)
        expected = {None: "CERTIFICATE_REQUIRED", stranger: "UNKNOWN_CA",
                    expired: "CERTIFICATE_EXPIRED"}[client]
        assert expected in str(refusal.value).replace(" ", "_").upper(), refusal.value
    assert mutual.rows(columns="count(*)")[0][0] >= 1
    assert not [row for row in mutual.rows() if row[1].startswith("never@")]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_tls_1_1_is_refused(server):
    settings = context(server.authority)
    settings.set_ciphers("ALL:@SECLEVEL=0")
    settings.minimum_version = ssl.TLSVersion.TLSv1
    settings.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        handshake(server, settings)


def test_ciphers_that_http_2_forbids_are_refused(server):
    settings = context(server.authority)
    settings.maximum_version = ssl.TLSVersion.TLSv1_2
    settings.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-GCM-SHA256")
    with pytest.raises(ssl.SSLError, match="(?i)handshake.failure"):
        handshake(server, settings)


@pytest.mark.parametrize("protocols", [(), ("http/1.1",), ("h2c", "spdy/3")])
def test_a_client_without_h2_is_closed_before_a_byte(server, protocols):
    before = failed_handshakes(server)
    with handshake(server, context(server.authority, protocols=protocols)) as connection:
        assert connection.selected_alpn_protocol() is None
        assert read_to_end(connection) == b""
    assert failed_handshakes(server) == before + 1


def test_clear_text_to_a_server_with_tls_is_closed(server):
    channel = grpc.insecure_channel(server.address)
    unavailable(channel)
    with wire.Connection(server) as connection:
        end = time.monotonic() + 10
        while not connection.closed:
            assert time.monotonic() < end
            try:
                connection.pull(1)
            except Exception:  # An alert is no frame.
                break


# Time, numbers and the log.


def test_a_slow_handshake_is_cut_and_nobody_else_waits(server):
    before = failed_handshakes(server)
    plain = [socket.create_connection((server.host, server.port), timeout=30) for _ in range(50)]
    begin = time.monotonic()
    # Some say nothing, some begin a record that never ends.
    for number, connection in enumerate(plain):
        connection.sendall(b"\x16\x03\x01\x02\x00\x01"[:number % 7])
    answer = upsert(server.stub, [contact("meanwhile")])
    assert answer.results[0].status == CREATED
    for connection in plain:
        assert connection.recv(100) == b""
        connection.close()
    took = time.monotonic() - begin
    assert HANDSHAKE_SECONDS - 1 < took < HANDSHAKE_SECONDS + 5
    wait_until(lambda: failed_handshakes(server) == before + 50)


def test_a_client_that_dribbles_is_cut_all_the_same(server):
    """The limit is for the whole handshake, not from byte to byte."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = context(server.authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    data = outgoing.read()
    begin = time.monotonic()
    with socket.create_connection((server.host, server.port), timeout=0.2) as plain:
        for byte in data:
            try:
                plain.sendall(bytes([byte]))
                if plain.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it was never cut")
    assert time.monotonic() - begin < HANDSHAKE_SECONDS + 5


def test_many_failures_make_few_lines(server):
    before, lines = failed_handshakes(server), len(server.logged("a TLS handshake failed"))
    begin = time.monotonic()
    for number in range(300):
        with socket.create_connection((server.host, server.port), timeout=10) as plain:
            plain.sendall(b"GET /secret-path HTTP/1.1\r\n\r\n" if number % 2 else bytes(500))
            try:
                while plain.recv(4096):
                    pass
            except ConnectionError:
                pass
    wait_until(lambda: failed_handshakes(server) == before + 300)
    new = server.logged("a TLS handshake failed")[lines:]
    assert len(new) <= 2 + (time.monotonic() - begin) / 10, new
    assert not server.logged("secret-path")


def test_the_end_is_told_within_tls(authority):
    server = SecureServer(authority, authority.issue_server())
    try:
        idle = handshake(server)
        idle.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        half = socket.create_connection((server.host, server.port), timeout=10)
        unread = handshake(server)
        server.terminate()
        assert half.recv(10) == b""
        # A GOAWAY, then a close_notify: without one this raises.
        received = read_to_end(idle)
        assert b"\x07\x00\x00\x00\x00\x00" in received
        begin = time.monotonic()
        assert server.wait(20) == 0
        assert time.monotonic() - begin < 12
        for connection in (idle, half, unread):
            connection.close()
    finally:
        server.close()


# Certificates are read again.


class Files:
    """Where a server finds its certificate: copies that a test exchanges."""

    def __init__(self, directory, name):
        self.certificate = directory / f"{name}.pem"
        self.key = directory / f"{name}.key"

    def take(self, pair):
        """Each at once, as careful programs do."""
        for source, target in ((pair.certificate, self.certificate), (pair.key, self.key)):
            new = target.with_suffix(".new")
            shutil.copy(source, new)
            new.rename(target)


@pytest.fixture
def exchangeable(authority, directory, request):
    files = Files(directory, f"files-{request.node.name}")
    files.take(authority.issue_server())
    server = SecureServer(authority, files)
    server.files = files
    yield server
    server.close()


def serial_of(pair):
    decoded = ssl._ssl._test_decode_cert(str(pair.certificate))
    return decoded["serialNumber"]


def test_sighup_takes_the_new_certificate_while_a_stream_goes_on(exchangeable):
    server = exchangeable
    call = LiveCall(server.stub)
    call.send(request([contact("before")]))
    call.read_results(1)
    new = server.authority.issue_server()
    server.files.take(new)
    server.process.send_signal(signal.SIGHUP)
    # Sooner than by looking at the files.
    wait_until(lambda: server.serial() == serial_of(new), 1.9, "the new certificate")
    call.send(request([contact("after")]))
    call.half_close()
    assert call.finish().check_ok(2).statuses == [CREATED, CREATED]
    assert server.stop() == 0


def test_a_change_is_seen_without_a_signal(exchangeable):
    server = exchangeable
    call = LiveCall(server.stub)
    call.send(request([contact("unbroken")]))
    call.read_results(1)
    new = server.authority.issue_server()
    server.files.take(new)
    wait_until(lambda: server.serial() == serial_of(new), RELOAD_SECONDS, "the new certificate")
    call.send(request([contact("unbroken-too")]))
    call.half_close()
    assert call.finish().check_ok(2).statuses == [CREATED, CREATED]


def test_a_broken_pair_keeps_the_old_one(exchangeable):
    server = exchangeable
    old, new = server.serial(), server.authority.issue_server()
    certificate, key = new.bytes

    def broken(write, word):
        before = len(server.logged("of no use"))
        write()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.logged("of no use")) > before, RELOAD_SECONDS, word)
        line = server.logged("of no use")[before]
        assert str(server.files.certificate) in line or str(server.files.key) in line
        assert word in line, line
        assert server.serial() == old

    broken(lambda: server.files.certificate.write_bytes(certificate), "not the key of")
    broken(lambda: server.files.key.write_bytes(key[:100]), "not a private key")
    broken(lambda: server.files.certificate.write_bytes(certificate[:300]), "not certificates")
    broken(lambda: server.files.certificate.write_bytes(b""), "not certificates")
    broken(lambda: server.files.certificate.write_bytes(bytes(1024 * 1024 + 1)), "larger")
    broken(lambda: server.files.certificate.unlink(), "No such file")
    body = [line for line in key.decode().splitlines() if len(line) > 40]
    assert body and not [line for line in body if server.logged(line)]
    # And it recovers by itself.
    server.files.take(new)
    wait_until(lambda: server.serial() == serial_of(new), RELOAD_SECONDS, "the new certificate")


def test_a_pair_written_slowly_is_taken_when_it_is_whole(exchangeable):
    """Never a moment in which a handshake fails."""
    server = exchangeable
    old, new = server.serial(), server.authority.issue_server()
    certificate, key = new.bytes
    seen = set()
    server.files.certificate.write_bytes(certificate[:200])
    seen.add(server.serial())
    server.files.certificate.write_bytes(certificate)
    seen.add(server.serial())
    server.files.key.write_bytes(key)
    wait_until(lambda: seen.add(server.serial()) or serial_of(new) in seen, RELOAD_SECONDS)
    assert seen == {old, serial_of(new)}


def test_clients_of_an_authority_that_was_exchanged(authority, other_authority, directory):
    """New handshakes are judged by the new authorities, resumed sessions included."""
    pair, trusted = authority.issue_server(), directory / "trusted.pem"
    shutil.copy(authority.certificate, trusted)
    client = authority.issue("client", "URI:spiffe://test.example/old")
    server = SecureServer(authority, pair, "--tls-client-ca", trusted, client=client)
    try:
        settings = context(authority, client)
        with handshake(server, settings) as first:
            first.recv(9)
            session = first.session
        shutil.copy(other_authority.certificate, trusted)
        server.process.send_signal(signal.SIGHUP)

        def is_refused():
            try:
                with handshake(server, settings, session) as connection:
                    connection.recv(1)
                return False
            except (ssl.SSLError, ConnectionError):
                return True

        wait_until(is_refused, RELOAD_SECONDS, "the refusal")
        new = other_authority.issue("client", "URI:spiffe://test.example/new")
        channel = server.connect_securely(client=new)
        stub = rpc.ContactServiceStub(channel)
        assert upsert(stub, [contact("new-authority")]).results[0].status == CREATED
        channel.close()
    finally:
        server.close()


# The command lines.


def serve(*arguments, **environment):
    directory = harness.new_directory()
    try:
        clean = {name: value for name, value in os.environ.items()
                 if not name.startswith(("PG", "CONTACTS_", "DATABASE_URL"))}
        return harness.subprocess.run(
            [harness.CONTACTSD, "serve", "--data-dir", directory, *map(str, arguments)],
            capture_output=True, text=True, timeout=60, env=clean | environment)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.com:50051", "128.0.0.1:0"])
def test_clear_text_has_to_be_asked_for_where_others_can_reach_it(address):
    done = serve("--listen", address)
    assert done.returncode == 64, done.stderr
    assert "--tls-certificate" in done.stderr and "--clear-text" in done.stderr
    assert "PostgreSQL" not in done.stderr


@pytest.mark.parametrize("value,says", [
    ("0", "--tls-certificate"), ("false", "--tls-certificate"), ("", "--tls-certificate"),
    ("maybe", "CONTACTS_CLEAR_TEXT")])
def test_clear_text_that_was_not_asked_for(value, says):
    done = serve("--listen", "0.0.0.0:0", CONTACTS_CLEAR_TEXT=value)
    assert done.returncode == 64 and says in done.stderr, done.stderr


def test_a_server_without_certificates_survives_sighup(own_servers):
    server = own_servers()
    os.kill(server.pid, signal.SIGHUP)
    assert upsert(server.stub, [contact("hup")]).results[0].status == CREATED
    assert server.stop() == 0


@pytest.mark.parametrize("arguments, variables", [
    (["--clear-text"], {}), ([], {"CONTACTS_CLEAR_TEXT": "1"}),
    ([], {"CONTACTS_CLEAR_TEXT": "true"})])
def test_clear_text_that_was_asked_for(own_servers, arguments, variables):
    server = own_servers(arguments=["--listen", "0.0.0.0:0", "--auth", "never", *arguments], variables=variables)
    channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
    stub = rpc.ContactServiceStub(channel)
    assert upsert(stub, [contact("clear")]).results[0].status == CREATED
    channel.close()


def test_tls_anywhere_and_from_the_environment(authority, own_servers):
    pair = authority.issue_server()
    server = own_servers(
        arguments=["--listen", "0.0.0.0:0", "--auth", "never"],
        variables={"CONTACTS_TLS_CERTIFICATE": str(pair.certificate),
                   "CONTACTS_TLS_KEY": str(pair.key),
                   "CONTACTS_TLS_CLIENT_CA": str(authority.certificate)})
    server.host, server.authority = "127.0.0.1", authority
    with pytest.raises(ssl.SSLError):
        with handshake(server) as connection:
            connection.recv(1)
    client = authority.issue("client")
    with handshake(server, context(authority, client)) as connection:
        assert connection.recv(9)[3] == 4


def test_options_that_do_not_fit(authority, other_authority, directory):
    pair, other = authority.issue_server(), authority.issue_server()
    empty = directory / "empty.pem"
    empty.write_bytes(b"")
    for arguments, code, words in [
            (["--tls-certificate", pair.certificate], 64, "both"),
            (["--tls-client-ca", authority.certificate], 64, "both"),
            (["--tls-certificate", pair.certificate, "--tls-key", pair.key, "--clear-text"], 64,
             "not both"),
            (["--tls-certificate", pair.certificate, "--tls-key", other.key], 1, "not the key of"),
            (["--tls-certificate", directory / "none.pem", "--tls-key", pair.key], 1,
             "No such file"),
            (["--tls-certificate", pair.certificate, "--tls-key", pair.certificate], 1,
             "not a private key"),
            (["--tls-certificate", pair.certificate, "--tls-key", pair.key, "--tls-client-ca",
              empty], 1, "not certificates")]:
        done = serve("--listen", "127.0.0.1:0", *arguments)
        assert done.returncode == code and words in done.stderr, (arguments, done)
        assert "PostgreSQL" not in done.stderr


def contacts(server, *arguments, **settings):
    return harness.subprocess.run(
        [CONTACTS, *map(str, arguments), "--server", f"localhost:{server.port}"],
        capture_output=True, text=True, timeout=120, **settings)


def test_our_client_imports_and_exports(server, authority, tmp_path):
    workspace, people = server.create_workspace(), tmp_path / "people.csv"
    people.write_text("email,name\n" + "".join(f"{n}@cli.example,N {n}\n" for n in range(5000)))
    done = contacts(server, "import", people, "--ca", authority.certificate, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    assert len(server.rows(workspace)) == 5000
    done = contacts(server, "export", "--ca", authority.certificate, "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5001


def test_our_client_shows_its_certificate(mutual):
    client, ca = mutual.client, mutual.authority.certificate
    done = contacts(mutual, "health", "--ca", ca, "--tls-certificate", client.certificate,
                    "--tls-key", client.key)
    assert (done.returncode, done.stdout) == (0, "SERVING\n"), done.stderr


def test_our_client_says_what_is_wrong(server, mutual, other_authority, authority, own_servers):
    clear = own_servers()
    ca, stranger = authority.certificate, other_authority.issue("stranger")
    pair = ["--tls-certificate", stranger.certificate, "--tls-key", stranger.key]
    for target, arguments, words in [
            (server, ["--ca", other_authority.certificate], "is not trusted"),
            (server, ["--tls"], "is not trusted"),
            (server, [], "if it speaks TLS, so must the client"),
            (clear, ["--ca", ca], "does not speak TLS"),
            (mutual, ["--ca", ca], "demands a certificate"),
            (mutual, ["--ca", ca, *pair], "refuses the certificate")]:
        done = contacts(target, "health", *arguments)
        assert done.returncode == UNAVAILABLE and words in done.stderr, (arguments, done)
    for arguments, code, words in [
            (["--tls-certificate", stranger.certificate], 64, "or neither"),
            (["--ca", "/nowhere.pem"], 66, "/nowhere.pem: No such file"),
            (["--ca", ca, "--tls-certificate", stranger.certificate, "--tls-key",
              mutual.client.key], 66, "not the key of")]:
        done = contacts(server, "health", *arguments)
        assert done.returncode == code and words in done.stderr, (arguments, done)


def test_our_client_compares_the_name(authority, own_servers):
    pair = authority.issue("contacts.example", "DNS:contacts.example")
    server = SecureServer(authority, pair)
    try:
        done = contacts(server, "health", "--ca", authority.certificate)
        assert done.returncode == UNAVAILABLE and "is for another name" in done.stderr, done
    finally:
        server.close()
