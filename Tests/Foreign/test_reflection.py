"""What the server says of itself: to buf without a schema, to grpcio's reflection client, and by hand."""

import json
import pathlib
import sys

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase)

from harness import run

BUF = str(pathlib.Path(sys.executable).parent / "buf")
SERVICES = ["contacts.v1.ContactService", "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
VERSIONS = ["v1", "v1alpha"]
CONTACTS = "contacts/v1/contacts.proto"


def ask(server, version, *requests):
    """The answers of one call; both versions have the same messages."""
    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
        return list(call(
            iter([reflection_pb2.ServerReflectionRequest(**request) for request in requests]),
            timeout=20))


def files(answer):
    return [descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto]


@pytest.mark.parametrize("version", VERSIONS)
def test_services_are_listed(server, version):
    answer, = ask(server, version, {"host": "here", "list_services": "*"})
    assert [service.name for service in answer.list_services_response.service] == SERVICES
    assert answer.valid_host == "here"
    assert answer.original_request.host == "here"
    assert answer.original_request.WhichOneof("message_request") == "list_services"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_file_comes_with_what_it_imports_once(server, version):
    first, again, imported = ask(
        server, version, {"file_by_filename": CONTACTS}, {"file_by_filename": CONTACTS},
        {"file_by_filename": "google/protobuf/timestamp.proto"})
    assert [file.name for file in files(first)] == [
        CONTACTS, "google/protobuf/struct.proto", "google/protobuf/timestamp.proto"]
    # What is asked for comes each time; what the client has as an import does not.
    assert [file.name for file in files(again)] == [CONTACTS]
    assert [file.name for file in files(imported)] == ["google/protobuf/timestamp.proto"]


def test_a_file_has_its_comments(server):
    answer, = ask(server, "v1", {"file_by_filename": CONTACTS})
    comments = [place.leading_comments for place in files(answer)[0].source_code_info.location]
    assert any("sequence number" in comment for comment in comments)


@pytest.mark.parametrize("symbol,file", [
    ("contacts.v1.ContactService", CONTACTS),
    ("contacts.v1.ContactService.BulkUpsert", CONTACTS),
    ("contacts.v1.Contact", CONTACTS),
    ("contacts.v1.Contact.email", CONTACTS),
    ("contacts.v1.BulkUpsertResponse.response", CONTACTS),
    ("contacts.v1.UpsertStatus", CONTACTS),
    ("contacts.v1.UPSERT_STATUS_CREATED", CONTACTS),
    ("grpc.health.v1.HealthCheckResponse.ServingStatus", "grpc/health/v1/health.proto"),
    ("grpc.health.v1.HealthCheckResponse.SERVING", "grpc/health/v1/health.proto"),
    ("google.protobuf.Timestamp", "google/protobuf/timestamp.proto"),
    ("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto"),
])
def test_a_symbol_has_its_file(server, symbol, file):
    answer, = ask(server, "v1", {"file_containing_symbol": symbol})
    assert files(answer)[0].name == file


@pytest.mark.parametrize("question", [
    {"file_by_filename": "nothing.proto"}, {"file_by_filename": ""},
    {"file_containing_symbol": "contacts.v1.Nothing"}, {"file_containing_symbol": "contacts.v1"},
    {"file_containing_extension": reflection_pb2.ExtensionRequest(
        containing_type="contacts.v1.Contact", extension_number=5)},
    {"all_extension_numbers_of_type": "contacts.v1.Nothing"},
    {"all_extension_numbers_of_type": "contacts.v1.UpsertStatus"},
])
def test_what_is_not_there_is_an_answer_and_the_call_goes_on(server, question):
    answer, services = ask(server, "v1", question, {"list_services": ""})
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    assert answer.error_response.error_message
    assert services.HasField("list_services_response")


def test_a_message_type_has_no_extensions(server):
    answer, = ask(server, "v1", {"all_extension_numbers_of_type": "contacts.v1.Contact"})
    assert answer.all_extension_numbers_response.base_type_name == "contacts.v1.Contact"
    assert list(answer.all_extension_numbers_response.extension_number) == []


def test_no_question_ends_the_call(server):
    with pytest.raises(grpc.RpcError) as error:
        ask(server, "v1", {"host": "x"})
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_that_asks_and_never_reads_is_not_read_from(server):
    """Answers of 35 KB each to questions of 30 bytes."""
    before = server.memory("VmRSS")
    with grpc.insecure_channel(server.address) as channel:
        call = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString)
        request = reflection_pb2.ServerReflectionRequest(file_by_filename=CONTACTS)
        responses = call(iter([request] * 20_000), timeout=60)
        assert next(responses)
        assert server.memory("VmRSS") - before < 32
        responses.cancel()


def test_the_stock_client_builds_the_whole_api(server):
    with grpc.insecure_channel(server.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert sorted(database.get_services()) == SERVICES
        pool = descriptor_pool.DescriptorPool(database)
        service = pool.FindServiceByName("contacts.v1.ContactService")
        assert service.methods_by_name["BulkUpsert"].client_streaming
        contact = pool.FindMessageTypeByName("contacts.v1.Contact")
        assert contact.fields_by_name["email"].number == 1


def buf_curl(server, *arguments):
    done = run([BUF, "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_buf_needs_no_schema(server, domain):
    address = f"http://{server.address}"
    assert buf_curl(server, "--list-services", address).split() == SERVICES
    methods = buf_curl(server, "--list-methods", address).split()
    assert "contacts.v1.ContactService/BulkUpsert" in methods
    answer = json.loads(buf_curl(
        server, "-d", json.dumps({"contacts": [{"email": f"a@{domain}"}]}),
        f"{address}/contacts.v1.ContactService/UpsertContacts"))
    assert answer["results"][0]["status"] == "UPSERT_STATUS_CREATED"
    answer = buf_curl(server, "-d", "{}", f"{address}/grpc.health.v1.Health/List")
    assert json.loads(answer)["statuses"][""] == {"status": "SERVING"}
    for version in VERSIONS:
        assert buf_curl(
            server, "--reflect-protocol", f"grpc-{version}", "--list-services",
            address).split() == SERVICES
