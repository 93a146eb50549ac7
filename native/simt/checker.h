// The checker's side of an access by instrumented code (the checking build).
#pragma once

#include "shadow.h"

namespace simt {

// Fails the launch where the address is not a multiple of the access's size.
void check_aligned(const void *address, size_t bytes, Access access, Thread &thread, const void *instruction);

}  // namespace simt
