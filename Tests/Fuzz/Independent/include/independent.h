// A BulkUpsertRequest as Google's C++ protobuf decodes it with the published .proto.
// In: a message's bytes. Out: its values, which live until the next decode. One thread.

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct independent_text {
    const uint8_t *bytes;
    size_t count;
    bool is_present;
};

/// The number of the field of the oneof `value`; 0: none is set.
struct independent_field {
    struct independent_text name;
    int kind;
    struct independent_text text;
    int64_t integer;
    double number;
    bool boolean;
    int64_t seconds;
    int32_t nanos;
};

/// `texts` are the fields 1 to 7: email, phone, external_id, id, name, first_name, last_name.
struct independent_contact {
    struct independent_text texts[7];
    const int64_t *lists;
    size_t list_count;
    const struct independent_field *fields;
    size_t field_count;
};

struct independent_options {
    struct independent_text import_id;
    struct independent_text default_dial_code;
    /// match_by, write_mode, existence, results.
    int32_t enums[4];
    const int64_t *lists;
    size_t list_count;
    bool run_workflow;
    bool validate_only;
    uint64_t max_failures;
    /// Name, value, name, value ... as they came.
    const struct independent_text *labels;
    size_t label_count;
};

struct independent_request {
    uint64_t first_sequence;
    bool has_options;
    struct independent_options options;
    const struct independent_contact *contacts;
    size_t contact_count;
    /// The published message demands UTF-8, and this one was taken with it.
    bool is_strictly_valid;
};

/// Reads the file that protoc made of the .proto, once; false if it cannot be used.
bool independent_prepare(const char *descriptors);

/// NULL: not such a message. Texts need not be UTF-8.
const struct independent_request *independent_decode(const uint8_t *bytes, size_t count);

#ifdef __cplusplus
}
#endif
