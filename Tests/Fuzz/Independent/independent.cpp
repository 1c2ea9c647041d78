// In: the published .proto, compiled by protoc, and a message's bytes. Out: the message's values by reflection. Nothing
// is generated from the project's own derivation of the .proto, so that a fault in there shows too.
// One thread.

#include "independent.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/message.h>

#include <deque>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace pb = google::protobuf;

namespace {

/// The message types, and what was decoded last.
struct Decoder {
    pb::DescriptorPool strict_pool;
    pb::DescriptorPool loose_pool;
    pb::DynamicMessageFactory factory;
    std::unique_ptr<pb::Message> strict;
    std::unique_ptr<pb::Message> message;

    std::deque<std::string> texts;
    std::deque<std::vector<int64_t>> lists;
    std::deque<std::vector<independent_field>> fields;
    std::vector<independent_contact> contacts;
    std::vector<independent_text> labels;
    independent_request request;
};

Decoder *decoder = nullptr;

/// Texts become bytes, so that only the form of the message is judged; a map's keys cannot be
/// bytes, so it becomes what it is on the wire, a repeated message.
void loosen(pb::DescriptorProto *message) {
    for (auto &field : *message->mutable_field()) {
        if (field.type() == pb::FieldDescriptorProto::TYPE_STRING) {
            field.set_type(pb::FieldDescriptorProto::TYPE_BYTES);
        }
    }
    message->mutable_options()->clear_map_entry();
    for (auto &nested : *message->mutable_nested_type()) loosen(&nested);
}

const pb::FieldDescriptor *field(const pb::Message &message, int number) {
    return message.GetDescriptor()->FindFieldByNumber(number);
}

independent_text text(const pb::Message &message, int number) {
    const auto *descriptor = field(message, number);
    const auto *reflection = message.GetReflection();
    decoder->texts.push_back(reflection->GetString(message, descriptor));
    const std::string &copy = decoder->texts.back();
    bool present = !descriptor->has_presence() || reflection->HasField(message, descriptor);
    return {reinterpret_cast<const uint8_t *>(copy.data()), copy.size(), present};
}

const std::vector<int64_t> &integers(const pb::Message &message, int number) {
    const auto *descriptor = field(message, number);
    const auto *reflection = message.GetReflection();
    std::vector<int64_t> values;
    for (int index = 0; index < reflection->FieldSize(message, descriptor); index++) {
        values.push_back(reflection->GetRepeatedInt64(message, descriptor, index));
    }
    decoder->lists.push_back(std::move(values));
    return decoder->lists.back();
}

independent_field custom_field(const pb::Message &message) {
    const auto *reflection = message.GetReflection();
    independent_field result = {};
    result.name = text(message, 1);
    for (int number = 2; number <= 7; number++) {
        if (reflection->HasField(message, field(message, number))) result.kind = number;
    }
    const auto *value = field(message, result.kind);
    switch (result.kind) {
    case 2: result.text = text(message, 2); break;
    case 3: result.integer = reflection->GetInt64(message, value); break;
    case 4: result.number = reflection->GetDouble(message, value); break;
    case 5: result.boolean = reflection->GetBool(message, value); break;
    case 6: {
        const auto &time = reflection->GetMessage(message, value);
        result.seconds = time.GetReflection()->GetInt64(time, field(time, 1));
        result.nanos = time.GetReflection()->GetInt32(time, field(time, 2));
        break;
    }
    }
    return result;
}

independent_contact contact(const pb::Message &message) {
    const auto *reflection = message.GetReflection();
    independent_contact result = {};
    for (int number = 1; number <= 7; number++) result.texts[number - 1] = text(message, number);
    const auto &lists = integers(message, 8);
    result.lists = lists.data();
    result.list_count = lists.size();
    std::vector<independent_field> fields;
    const auto *descriptor = field(message, 9);
    for (int index = 0; index < reflection->FieldSize(message, descriptor); index++) {
        fields.push_back(
            custom_field(reflection->GetRepeatedMessage(message, descriptor, index)));
    }
    decoder->fields.push_back(std::move(fields));
    result.fields = decoder->fields.back().data();
    result.field_count = decoder->fields.back().size();
    return result;
}

independent_options options(const pb::Message &message) {
    const auto *reflection = message.GetReflection();
    independent_options result = {};
    result.import_id = text(message, 1);
    const int enums[] = {2, 3, 4, 9};
    for (int index = 0; index < 4; index++) {
        result.enums[index] = reflection->GetEnumValue(message, field(message, enums[index]));
    }
    result.default_dial_code = text(message, 5);
    const auto &lists = integers(message, 6);
    result.lists = lists.data();
    result.list_count = lists.size();
    result.run_workflow = reflection->GetBool(message, field(message, 7));
    result.validate_only = reflection->GetBool(message, field(message, 8));
    result.max_failures = reflection->GetUInt64(message, field(message, 10));
    const auto *labels = field(message, 11);
    for (int index = 0; index < reflection->FieldSize(message, labels); index++) {
        const auto &entry = reflection->GetRepeatedMessage(message, labels, index);
        decoder->labels.push_back(text(entry, 1));
        decoder->labels.push_back(text(entry, 2));
    }
    result.labels = decoder->labels.data();
    result.label_count = decoder->labels.size() / 2;
    return result;
}

}  // namespace

bool independent_prepare(const char *descriptors) {
    decoder = new Decoder();
    std::ifstream input(descriptors, std::ios::binary);
    pb::FileDescriptorSet files;
    if (!files.ParseFromIstream(&input)) return false;
    for (auto &file : *files.mutable_file()) {
        if (!decoder->strict_pool.BuildFile(file)) return false;
        if (file.package() == "contacts.v1") {
            for (auto &message : *file.mutable_message_type()) loosen(&message);
        }
        if (!decoder->loose_pool.BuildFile(file)) return false;
    }
    const char *name = "contacts.v1.BulkUpsertRequest";
    const auto *strict = decoder->strict_pool.FindMessageTypeByName(name);
    const auto *loose = decoder->loose_pool.FindMessageTypeByName(name);
    if (!strict || !loose) return false;
    decoder->strict.reset(decoder->factory.GetPrototype(strict)->New());
    decoder->message.reset(decoder->factory.GetPrototype(loose)->New());
    // "Not UTF-8" and "cannot parse" would fill the screen.
    pb::SetLogHandler(nullptr);
    return true;
}

const independent_request *independent_decode(const uint8_t *bytes, size_t count) {
    decoder->texts.clear();
    decoder->lists.clear();
    decoder->fields.clear();
    decoder->contacts.clear();
    decoder->labels.clear();
    decoder->request = {};
    auto &request = decoder->request;
    const auto &message = *decoder->message;
    if (!decoder->message->ParseFromArray(bytes, static_cast<int>(count))) return nullptr;
    request.is_strictly_valid =
        decoder->strict->ParseFromArray(bytes, static_cast<int>(count));
    const auto *reflection = message.GetReflection();
    request.has_options = reflection->HasField(message, field(message, 1));
    if (request.has_options) {
        request.options = options(reflection->GetMessage(message, field(message, 1)));
    }
    request.first_sequence = reflection->GetUInt64(message, field(message, 2));
    const auto *contacts = field(message, 3);
    for (int index = 0; index < reflection->FieldSize(message, contacts); index++) {
        decoder->contacts.push_back(
            contact(reflection->GetRepeatedMessage(message, contacts, index)));
    }
    request.contacts = decoder->contacts.data();
    request.contact_count = decoder->contacts.size();
    return &request;
}
