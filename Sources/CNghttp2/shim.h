// nghttp2 as Debian 12 has it, with the security backports that add the two limits used here.
#ifndef CNGHTTP2_SHIM_H
#define CNGHTTP2_SHIM_H
#include <nghttp2/nghttp2.h>
#if NGHTTP2_VERSION_NUM < 0x013400
#error "nghttp2 1.52 or newer is needed: apt-get install libnghttp2-dev"
#endif
#endif
