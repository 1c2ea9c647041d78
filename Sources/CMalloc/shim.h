// What glibc's allocator has beside malloc and free; Swift's Glibc module leaves it out.
#ifndef CMALLOC_SHIM_H
#define CMALLOC_SHIM_H
#include <malloc.h>
#endif
