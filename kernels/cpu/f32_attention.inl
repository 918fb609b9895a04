// f32_attention over Vec. Included after vec__<isa>.h and tile_shape__<isa>.h.
#pragma once

#include <cstddef>

#include "kernels/cpu/f32_product.inl"
#include "kernels/include/f32_attention.h"

namespace {

using pelton::kernels::F32AttentionParams;
using pelton::kernels::kAttentionQueryRows;

typedef float Quad __attribute__((vector_size(16)));

// The 4 x 4 block at `from` (rows `stride` apart), transposed, to `to` (rows of a panel apart).
PELTON_INLINE void transpose_quads(const float* from, int64_t stride, float* to) {
  Quad r[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) __builtin_memcpy(&r[i], from + i * stride, sizeof(Quad));
  const Quad low01 = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5);
  const Quad low23 = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5);
  const Quad high01 = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
  const Quad high23 = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
  const Quad columns[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                           __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                           __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                           __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) __builtin_memcpy(to + i * kPanelWidth, &columns[i], sizeof(Quad));
}

// Tokens [j_begin, j_end) of one panel, dimensions from d_begin on, one by one.
PELTON_INLINE void pack_keys_singly(const F32AttentionParams& p, const float* k, int64_t j_begin,
                                    int64_t j_end, int64_t d_begin, float* panel) {
  for (int64_t j = j_begin; j < j_end; ++j) {
    for (int64_t d = d_begin; d < p.head_dim; ++d) panel[d * kPanelWidth + j] = k[j * p.stride + d];
  }
}

// K as panels of 16 tokens, [token / 16][head_dim][16]; tokens past the last are zero.
inline void pack_keys(const F32AttentionParams& p, float* panels) {
  const int64_t dims_by_four = p.head_dim / 4 * 4;
  for (int64_t token = 0; token < p.token_count; token += kPanelWidth) {
    float* panel = panels + token * p.head_dim;
    const float* k = p.k + token * p.stride;
    const int64_t left = p.token_count - token;
    const int64_t present = left < kPanelWidth ? left : kPanelWidth;
    if (present < kPanelWidth) {
      __builtin_memset(panel, 0, static_cast<size_t>(p.head_dim * kPanelWidth) * sizeof(float));
    }
    const int64_t present_by_four = present / 4 * 4;
    for (int64_t j = 0; j < present_by_four; j += 4) {
      for (int64_t d = 0; d < dims_by_four; d += 4) {
        transpose_quads(k + j * p.stride + d, p.stride, panel + d * kPanelWidth + j);
      }
    }
    pack_keys_singly(p, k, 0, present_by_four, dims_by_four, panel);
    pack_keys_singly(p, k, present_by_four, present, 0, panel);
  }
}

// scores -> exp(scale * (score - max)); returns 1 / sum.
inline float softmax_numerators(float* scores, int64_t count, float scale) {
  F largest = Vec::set(scores[0]);
  int64_t i = 0;
  for (; i + Vec::kWidth <= count; i += Vec::kWidth) {
    largest = Vec::max(largest, Vec::load(scores + i));
  }
  float maximum = Vec::largest(largest);
  for (; i < count; ++i) maximum = scores[i] > maximum ? scores[i] : maximum;
  const F shift = Vec::set(maximum);
  const F factor = Vec::set(scale);
  F sum = Vec::zero();
  for (i = 0; i + Vec::kWidth <= count; i += Vec::kWidth) {
    const F e = exp_of(Vec::mul(Vec::sub(Vec::load(scores + i), shift), factor));
    Vec::store(scores + i, e);
    sum = Vec::add(sum, e);
  }
  float total = Vec::sum(sum);
  if (i < count) {
    const F e = exp_of(Vec::mul(Vec::sub(Vec::load_first(scores + i, count - i), shift), factor));
    Vec::store_first(scores + i, e, count - i);
    for (; i < count; ++i) total += scores[i];
  }
  return 1.0f / total;
}

inline void attention(const F32AttentionParams& p) {
  const int64_t padded = (p.token_count + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  float* keys = p.scratch;
  float* scores = keys + padded * p.head_dim;
  float* inverse_sums = scores + kAttentionQueryRows * padded;
  pack_keys(p, keys);
  for (int64_t query = p.query_begin; query < p.query_end; query += kAttentionQueryRows) {
    const int64_t left = p.query_end - query;
    const int64_t rows = left < kAttentionQueryRows ? left : kAttentionQueryRows;
    Product qk{};
    qk.a = p.q + query * p.stride;
    qk.a_stride = p.stride;
    qk.b = keys;
    qk.b_step = kPanelWidth;
    qk.b_panel_stride = p.head_dim * kPanelWidth;
    qk.rows = rows;
    qk.depth = p.head_dim;
    qk.columns = p.token_count;
    qk.c = scores;
    qk.c_stride = padded;
    multiply(qk);
    for (int64_t r = 0; r < rows; ++r) {
      inverse_sums[r] = softmax_numerators(scores + r * padded, p.token_count, p.scale);
    }
    Product pv{};
    pv.a = scores;
    pv.a_stride = padded;
    pv.b = p.v;
    pv.b_step = p.stride;
    pv.b_panel_stride = kPanelWidth;
    pv.rows = rows;
    pv.depth = p.token_count;
    pv.columns = p.head_dim;
    pv.row_scale = inverse_sums;
    pv.c = p.out + query * p.out_stride;
    pv.c_stride = p.out_stride;
    multiply(pv);
  }
}

}  // namespace
