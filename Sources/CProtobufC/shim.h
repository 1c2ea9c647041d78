// protobuf-c; 1.4.1 has the fixes for CVE-2022-33070 and CVE-2022-48468.
#ifndef CPROTOBUFC_SHIM_H
#define CPROTOBUFC_SHIM_H
#include <protobuf-c/protobuf-c.h>
#if PROTOBUF_C_VERSION_NUMBER < 1004001
#error "protobuf-c 1.4.1 or newer is needed: apt-get install libprotobuf-c-dev"
#endif
#endif
