# Derives from contacts.proto the twin that protoc-c compiles: the same bytes on the wire, other C.
#
# protoc-c 1.4 refuses proto3 `optional`, so each becomes a one-member oneof; it cuts `string` at a
# NUL, so each becomes `bytes`; it cannot set that inside a map, so each map becomes its entries.
# Comments, imports and the service are dropped.
BEGIN {
    print "// Derived from contacts.proto by derive-c.awk; do not edit."
}
/^service / { skipping = 1 }
skipping { if ($0 ~ /^}/) skipping = 0; next }
/^import / || /^[ \t]*\/\// || /^[ \t]*$/ { next }
/^package / {
    print
    print "message Timestamp { int64 seconds = 1; int32 nanos = 2; }"
    print "enum NullValue { NULL_VALUE = 0; }"
    print "message TextEntry { bytes key = 1; bytes value = 2; }"
    print "message CountEntry { bytes key = 1; uint64 value = 2; }"
    next
}
{
    gsub(/google\.protobuf\./, "")
    sub(/map<string, string>/, "repeated TextEntry")
    sub(/map<string, uint64>/, "repeated CountEntry")
    if ($1 == "optional") {
        name = $3
        sub(/optional /, "oneof _" name " { ")
        $0 = $0 " }"
    }
    sub(/(^|[ \t])string /, "&#")
    sub(/string #/, "bytes ")
    print
}
