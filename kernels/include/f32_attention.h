// f32_attention: softmax(scale * Q K^T) V for one head of one sequence, no padding, no mask. Ragged
// batches call it once per sequence and head; a sequence's result depends on nothing else (bitwise,
// within one variant, however its queries are split between calls).
//
// Two passes over a block of queries (scores, then their softmax times V); scores stay in the
// caller's scratch. Tolerance against float64: 1e-5 relative to max |v| for |scale * score| <= 50.
// The caller owns all memory; reads up to 15 floats past the last row of `v` when head_dim is no
// multiple of 16 (they must be readable, their values do not matter). Thread-safe with distinct
// scratch.
#pragma once

#include <cstdint>

namespace pelton::kernels {

struct F32AttentionParams {
  const float* q = nullptr;  // [token_count, head_dim], rows `stride` floats apart; k and v alike
  const float* k = nullptr;
  const float* v = nullptr;
  int64_t stride = 0;
  float* out = nullptr;  // [token_count, head_dim]
  int64_t out_stride = 0;
  int64_t token_count = 0;  // REQUIRES: >= 1
  int64_t head_dim = 0;     // REQUIRES: >= 1
  int64_t query_begin = 0;  // the rows of q and out to compute
  int64_t query_end = 0;
  float scale = 1.0f;        // REQUIRES: > 0
  float* scratch = nullptr;  // attention_scratch_floats(token_count, head_dim), 64-byte aligned
};

using F32AttentionFunction = void (*)(const F32AttentionParams& params);

inline constexpr int64_t kAttentionQueryRows = 48;  // queries whose scores are held at a time

constexpr int64_t attention_scratch_floats(int64_t token_count, int64_t head_dim) {
  const int64_t padded = (token_count + 15) / 16 * 16;
  return padded * head_dim + kAttentionQueryRows * padded + kAttentionQueryRows;
}

}  // namespace pelton::kernels
