// The register tile that GEMM and attention share: kRows rows of A by kPanels panels of 16 columns
// of B, accumulators in registers. Included after one vec__<isa>.h.
#pragma once

#include <cstdint>

namespace {

constexpr int kVectorsPerPanel = 16 / Vec::kWidth;

struct TileOperands {
  const float* a;
  int64_t a_stride;        // floats between rows
  const float* b;          // first panel
  int64_t b_step;          // floats between consecutive k of a panel
  int64_t b_panel_stride;  // floats between panels
  int64_t depth;
  const float* prefetch;  // 64 bytes a step from here into L2: the weights that a later tile reads
};

// acc[m][v] = sum over k of a[m][k] * b[k][v]: one multiply-add per k, in order. Rows are addressed
// from every third one so that the address registers fit too. Accumulators, one B row and one
// broadcast must fit the register file: the caller chooses kRows and kPanels so (a test counts
// spills).
template <int kRows, int kPanels>
inline __attribute__((always_inline)) void multiply_tile(
    const TileOperands& t, Vec::F (&acc)[kRows][kPanels * kVectorsPerPanel]) {
  constexpr int kVectors = kPanels * kVectorsPerPanel;
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m) {
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) acc[m][v] = Vec::zero();
  }
  constexpr int kGroups = (kRows + 2) / 3;
  const float* a[kGroups];
#pragma GCC unroll 4
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * t.a_stride;
  const float* b = t.b;
  const float* prefetch = t.prefetch;
  const int64_t a_stride = t.a_stride;
  const int64_t panel_stride = t.b_panel_stride;
  for (int64_t k = t.depth; k > 0; --k) {
    Vec::F w[kVectors];
#pragma GCC unroll 16
    for (int v = 0; v < kVectors; ++v) {
      w[v] = Vec::load(b + (v / kVectorsPerPanel) * panel_stride +
                       (v % kVectorsPerPanel) * Vec::kWidth);
    }
    __builtin_prefetch(prefetch, 0, 2);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const Vec::F x = Vec::set(a[m / 3][(m % 3) * a_stride]);
#pragma GCC unroll 16
      for (int v = 0; v < kVectors; ++v) acc[m][v] = Vec::fma(x, w[v], acc[m][v]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < kGroups; ++g) ++a[g];
    b += t.b_step;
    prefetch += 16;
  }
}

}  // namespace
