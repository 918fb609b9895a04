// f32_gemm: C = activation(A B + bias) + residual over weights packed once at compile time.
//
// B is packed in panels of 16 columns: b_panels[column / 16][k][column % 16], columns padded with
// zeros to a multiple of 16; one layout for every instruction set. Each C element is one chain of
// multiply-adds over k = 0..depth-1 in order, started at zero, whatever the tile: a row's result
// does not depend on the other rows or on how rows and columns are split between calls (bitwise,
// within one variant). Tolerance against float64: depth * 2^-24 * sum |a b|.
//
// The caller owns all memory; nothing is allocated. Reads 16 columns of each panel that overlaps
// the column range. A, C, bias, residual need 4-byte alignment, b_panels 64. `c` overlaps no input.
// Thread-safe.
#pragma once

#include <cstdint>

#include "kernels/include/activation.h"

namespace pelton::kernels {

inline constexpr int64_t kPanelColumns = 16;

struct F32GemmParams {
  const float* a = nullptr;  // [row_count, depth]
  int64_t a_stride = 0;      // in floats, as every stride
  const float* b_panels = nullptr;
  const float* bias = nullptr;      // [column_end], indexed by column; or nullptr
  const float* residual = nullptr;  // [row_count, column_end]; or nullptr
  int64_t residual_stride = 0;
  float* c = nullptr;  // [row_count, column_end]; columns before column_begin are not touched
  int64_t c_stride = 0;
  int64_t row_count = 0;
  int64_t depth = 0;
  int64_t column_begin = 0;  // REQUIRES: a multiple of 16
  int64_t column_end = 0;
  Activation activation = Activation::kNone;
};

using F32GemmFunction = void (*)(const F32GemmParams& params);

}  // namespace pelton::kernels
