// What the compiler's checks of alignment and of array bounds (-fsanitize=alignment,bounds) call when they fail: the launch fails.
// In the build with the sanitizers, their own library answers.
#if !defined(__SANITIZE_ADDRESS__)

#include <cstdio>
#include <cstdlib>

#include "multiprocessor.h"

namespace {

// As GCC lays them out (libsanitizer/ubsan).
struct SourceLocation {
  const char *file;
  uint32_t line, column;
};
struct TypeDescriptor {
  uint16_t kind, information;
  char name[1];
};
struct TypeMismatch {
  SourceLocation location;
  const TypeDescriptor *type;
  unsigned char log_alignment, access;
};
struct OutOfBounds {
  SourceLocation location;
  const TypeDescriptor *array, *index;
};

// Kernels fail; the host's code has nothing to return to.
template <class... Values>
void report(cudaError_t status, const char *kind, const char *format, Values... values) {
  if (simt::multiprocessor != nullptr) simt::fail(status, kind, format, values...);
  std::fprintf(stderr, "the emulator, in host code: ");
  std::fprintf(stderr, format, values...);
  std::abort();
}

}  // namespace

extern "C" {

__attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(TypeMismatch *data, uintptr_t address);
__attribute__((visibility("hidden"))) void __ubsan_handle_out_of_bounds(OutOfBounds *data, uintptr_t index);

void __ubsan_handle_type_mismatch_v1(TypeMismatch *data, uintptr_t address) {
  report(cudaErrorMisalignedAddress, "misaligned", "%s at address %#lx, which is not a multiple of %u, at %s:%u", data->type->name,
         static_cast<unsigned long>(address), 1u << data->log_alignment, data->location.file, data->location.line);
}

void __ubsan_handle_out_of_bounds(OutOfBounds *data, uintptr_t index) {
  report(cudaErrorIllegalAddress, "out-of-bounds", "index %ld of an array %s at %s:%u", static_cast<long>(index), data->array->name,
         data->location.file, data->location.line);
}
}

#endif
