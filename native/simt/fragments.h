// What ldmatrix and mma do with the registers of a warp, wherever its lanes keep them.
#pragma once

#include <cstring>

#include "multiprocessor.h"

namespace simt::fragments {

// Four 8 x 8 tiles of 16 bits: row(l) is the address of row l % 8 of tile l / 8, register(l, i) what lane l gets of tile i.
template <bool kTransposed, class Row, class Register>
void load_tiles(Row row, Register reg) {
  uint16_t element[4][8][8];
  for (unsigned lane = 0; lane < kLanes; lane++) std::memcpy(element[lane / 8][lane % 8], row(lane), 16);
  for (unsigned lane = 0; lane < kLanes; lane++) {
    const unsigned i = lane / 4, j = lane % 4 * 2;
    for (unsigned tile = 0; tile < 4; tile++) {
      const uint32_t low = kTransposed ? element[tile][j][i] : element[tile][i][j];
      const uint32_t high = kTransposed ? element[tile][j + 1][i] : element[tile][i][j + 1];
      reg(lane, tile) = low | high << 16;
    }
  }
}

// d = a b + c of mma.m16n8k16, bf16 and fp32; register i of lane l is a(l, i), b(l, i), c(l, i), d(l, i). The fragments are as the
// PTX ISA says: with g = l / 4 and t = l % 4 * 2, a lane holds a[g][t], a[g + 8][t], a[g][t + 8], a[g + 8][t + 8], b[t][g],
// b[t + 8][g] and c[g][t], c[g + 8][t], each with its neighbour in t.
template <class A, class B, class C, class D>
void multiply_accumulate(A a, B b, C c, D d) {
  typedef float Row __attribute__((vector_size(32)));
  float left[16][16];
  alignas(32) float right[16][8];
  alignas(32) float sum[16][8];
  const auto put = [](float *pair, uint32_t bits, size_t step) {
    pair[0] = __uint_as_float(bits << 16);
    pair[step] = __uint_as_float(bits & 0xffff0000u);
  };
  for (unsigned lane = 0; lane < kLanes; lane++) {
    const unsigned g = lane / 4, t = lane % 4 * 2;
    put(&left[g][t], a(lane, 0), 1);
    put(&left[g + 8][t], a(lane, 1), 1);
    put(&left[g][t + 8], a(lane, 2), 1);
    put(&left[g + 8][t + 8], a(lane, 3), 1);
    put(&right[t][g], b(lane, 0), 8);
    put(&right[t + 8][g], b(lane, 1), 8);
    for (unsigned i = 0; i < 4; i++) sum[g + i / 2 * 8][t + i % 2] = c(lane, i);
  }
  for (unsigned i = 0; i < 16; i++) {
    Row row;
    std::memcpy(&row, sum[i], sizeof row);
    for (unsigned k = 0; k < 16; k++) {
      Row other;
      std::memcpy(&other, right[k], sizeof other);
      row += left[i][k] * other;
    }
    std::memcpy(sum[i], &row, sizeof row);
  }
  for (unsigned lane = 0; lane < kLanes; lane++) {
    const unsigned g = lane / 4, t = lane % 4 * 2;
    for (unsigned i = 0; i < 4; i++) d(lane, i) = sum[g + i / 2 * 8][t + i % 2];
  }
}

}  // namespace simt::fragments
