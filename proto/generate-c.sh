#!/bin/sh
# Generates contacts.pb-c.c and include/contacts.pb-c.h into the folder named by the argument.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1/include"
twin=$(mktemp -d)
trap 'rm -rf "$twin"' EXIT
awk -f "$here/derive-c.awk" "$here/contacts/v1/contacts.proto" >"$twin/contacts.proto"
protoc --plugin=protoc-gen-c="$(command -v protoc-gen-c)" --c_out="$twin" -I"$twin" \
    "$twin/contacts.proto"
mv "$twin/contacts.pb-c.c" "$1/contacts.pb-c.c"
mv "$twin/contacts.pb-c.h" "$1/include/contacts.pb-c.h"
