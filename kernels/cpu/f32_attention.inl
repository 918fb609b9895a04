// f32_attention over Vec. Included after vec__<isa>.h and tile_shape__<isa>.h.
#pragma once

#include "kernels/cpu/f32_product.inl"
#include "kernels/include/f32_attention.h"

namespace {

using pelton::kernels::F32AttentionParams;
using pelton::kernels::kAttentionQueryRows;

// K as panels of 16 tokens, [token / 16][head_dim][16]; tokens past the last are zero. 1 float
// moved per token and dimension: under 1 % of an encoder layer, so a plain loop.
inline void pack_keys(const F32AttentionParams& p, float* panels) {
  for (int64_t token = 0; token < p.token_count; token += kPanelWidth) {
    const int64_t left = p.token_count - token;
    const int64_t present = left < kPanelWidth ? left : kPanelWidth;
    for (int64_t d = 0; d < p.head_dim; ++d) {
      float* row = panels + token * p.head_dim + d * kPanelWidth;
      const float* from = p.k + token * p.stride + d;
      for (int64_t j = 0; j < present; ++j) row[j] = from[j * p.stride];
      for (int64_t j = present; j < kPanelWidth; ++j) row[j] = 0.0f;
    }
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
