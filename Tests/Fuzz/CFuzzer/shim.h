#include <stddef.h>
#include <stdint.h>

/* Of libFuzzer, which the compiler links and has no header for (LLVM, "Using libFuzzer as a
   library"). */
int LLVMFuzzerRunDriver(
    int *argc, char ***argv, int (*callback)(const uint8_t *data, size_t count));
