// Gathering and scattering rows.
#include "tier.h"

namespace lethe::LETHE_TIER {

// target (rows, width) = source[index[r]]
lethe_status gather_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype, int64_t rows,
                         int64_t, int64_t width, lethe_stream *) {
  const int64_t bytes = width * (dtype == LETHE_F32 ? 4 : 2);
  parallel(device, rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; r++) {
      std::memcpy(static_cast<char *>(target) + r * bytes, static_cast<const char *>(source) + index[r] * bytes,
                  static_cast<size_t>(bytes));
    }
  });
  return LETHE_OK;
}

// target (target_rows, width) = source[r] where r = index^-1 has one (the last, if there are several), else 0
lethe_status scatter_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype, int64_t rows,
                          int64_t target_rows, int64_t width, lethe_stream *) {
  const int64_t bytes = width * (dtype == LETHE_F32 ? 4 : 2);
  auto *from = static_cast<int64_t *>(device->scratch(target_rows * static_cast<int64_t>(sizeof(int64_t))));
  for (int64_t t = 0; t < target_rows; t++) from[t] = -1;
  for (int64_t r = 0; r < rows; r++) from[index[r]] = r;
  parallel(device, target_rows, width, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; t++) {
      char *row = static_cast<char *>(target) + t * bytes;
      if (from[t] < 0) {
        std::memset(row, 0, static_cast<size_t>(bytes));
      } else {
        std::memcpy(row, static_cast<const char *>(source) + from[t] * bytes, static_cast<size_t>(bytes));
      }
    }
  });
  return LETHE_OK;
}

}  // namespace lethe::LETHE_TIER
