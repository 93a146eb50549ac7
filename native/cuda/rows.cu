// Gathering and scattering rows.
//
// Operations: none. Bytes: every row read and written once (scattered: written once, zeros included, by the index turned round).
// Expected: 90% of a copy's rate for rows of some KB, less for short ones.
#include "gpu.h"

namespace lethe::gpu {

constexpr int kRowThreads = 128;

// target (rows, width) = source[from[r]], 0 where that is negative; in units of 16 bytes or of an element
template <class Unit>
__global__ void __launch_bounds__(kRowThreads)
    gather_rows_kernel(Unit *target, const Unit *source, const int32_t *from, int64_t rows, int64_t width) {
  const int64_t column = static_cast<int64_t>(blockIdx.x) * threads() + thread();
  if (column >= width) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) {
    const int64_t source_row = from[row];
    target[row * width + column] = source_row < 0 ? Unit{} : source[source_row * width + column];
  }
}

// body(Unit{}, units a row), the widest unit that every row is made of and aligned to
template <class Body>
void with_unit(int64_t row_bytes, int32_t dtype, const void *target, const void *source, Body body) {
  if (wide(row_bytes, target, source)) {
    body(uint4{}, row_bytes / 16);
  } else if (dtype == LETHE_F32) {
    body(uint32_t{}, row_bytes / 4);
  } else {
    body(uint16_t{}, row_bytes / 2);
  }
}

void gather_by(lethe_device *device, void *target, const void *source, const int32_t *from, int32_t dtype, int64_t rows, int64_t width,
               lethe_stream *stream) {
  with_unit(width * (dtype == LETHE_F32 ? 4 : 2), dtype, target, source, [&](auto unit, int64_t units) {
    launch(device, stream, grid(divide_up(units, kRowThreads), rows), kRowThreads, 0, gather_rows_kernel<decltype(unit)>, target, source,
           from, rows, units);
  });
}

// target (rows, width) = source[index[r]]
lethe_status gather_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype, int64_t rows,
                         int64_t, int64_t width, lethe_stream *stream) {
  gather_by(device, target, source, index, dtype, rows, width, stream);
  return LETHE_OK;
}

__global__ void __launch_bounds__(kRowThreads) no_source_kernel(int32_t *from, int64_t target_rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * threads() + thread();
  if (row < target_rows) from[row] = -1;
}

// from = index^-1; the last, if there are several
__global__ void __launch_bounds__(kRowThreads) inverse_kernel(int32_t *from, const int32_t *index, int64_t rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * threads() + thread();
  if (row < rows) atomicMax(from + index[row], static_cast<int32_t>(row));
}

// target (target_rows, width) = source[r] where r = index^-1 has one, else 0
lethe_status scatter_rows(lethe_device *device, void *target, const void *source, const int32_t *index, int32_t dtype, int64_t rows,
                          int64_t target_rows, int64_t width, lethe_stream *stream) {
  auto *from = static_cast<int32_t *>(device->scratch(stream, target_rows * static_cast<int64_t>(sizeof(int32_t))));
  launch(device, stream, grid(divide_up(target_rows, kRowThreads)), kRowThreads, 0, no_source_kernel, from, target_rows);
  launch(device, stream, grid(divide_up(rows, kRowThreads)), kRowThreads, 0, inverse_kernel, from, index, rows);
  gather_by(device, target, source, from, dtype, target_rows, width, stream);
  return LETHE_OK;
}

}  // namespace lethe::gpu
