// The row-by-row kernels over Vec. Included after vec__<isa>.h.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/cpu/f32_math.inl"
#include "kernels/include/f32_rows.h"

namespace {

using namespace pelton::kernels;

// The sum of term(vector) over a row, lanes past its end excluded; one accumulator, so the order is
// fixed.
template <typename Term>
PELTON_INLINE float sum_of(const float* x, int64_t count, const Term& term) {
  F sum = Vec::zero();
  int64_t i = 0;
  for (; i + Vec::kWidth <= count; i += Vec::kWidth) sum = Vec::add(sum, term(Vec::load(x + i)));
  float total = Vec::sum(sum);
  if (i < count) {
    float rest[Vec::kWidth];
    Vec::store(rest, term(Vec::load_first(x + i, count - i)));
    for (int64_t j = 0; j < count - i; ++j) total += rest[j];
  }
  return total;
}

inline void layer_norm(const F32LayerNormParams& p) {
  const float inverse_count = 1.0f / static_cast<float>(p.columns);
  for (int64_t r = 0; r < p.row_count; ++r) {
    const float* x = p.x + r * p.columns;
    float* y = p.y + r * p.columns;
    const float mean = sum_of(x, p.columns, [](F v) { return v; }) * inverse_count;
    const F center = Vec::set(mean);
    const float variance = sum_of(x, p.columns,
                                  [&](F v) {
                                    const F d = Vec::sub(v, center);
                                    return Vec::mul(d, d);
                                  }) *
                           inverse_count;
    const F scale = Vec::set(1.0f / std::sqrt(variance + p.epsilon));
    for_each_vector(p.columns, [&](int64_t i, auto load, auto store) {
      const F normal = Vec::mul(Vec::sub(load(x + i), center), scale);
      store(y + i, Vec::fma(normal, load(p.gamma + i), load(p.beta + i)));
    });
  }
}

inline void embedding(const F32EmbeddingParams& p) {
  for (int64_t t = 0; t < p.token_count; ++t) {
    const float* word = p.word + int64_t{p.ids[t]} * p.columns;
    const float* position = p.position ? p.position + (p.first_position + t) * p.columns : nullptr;
    const int64_t type_id = p.type_ids ? p.type_ids[t] : 0;
    const float* type = p.type ? p.type + type_id * p.columns : nullptr;
    float* out = p.out + t * p.columns;
    for_each_vector(p.columns, [&](int64_t i, auto load, auto store) {
      F sum = load(word + i);
      if (type) sum = Vec::add(sum, load(type + i));
      if (position) sum = Vec::add(sum, load(position + i));
      store(out + i, sum);
    });
  }
}

inline void pool(const F32PoolParams& p) {
  const float count = static_cast<float>(p.token_count);
  const bool largest = p.pooling == Pooling::kMax;
  const int64_t tokens = p.pooling == Pooling::kCls ? 1 : p.token_count;
  float factor = 1.0f;
  if (p.pooling == Pooling::kMean) factor = 1.0f / count;
  if (p.pooling == Pooling::kMeanSqrtLength) factor = 1.0f / std::sqrt(count);
  for_each_vector(p.columns, [&](int64_t i, auto load, auto store) {
    F result = load(p.x + i);
    for (int64_t t = 1; t < tokens; ++t) {
      const F v = load(p.x + t * p.columns + i);
      result = largest ? Vec::max(result, v) : Vec::add(result, v);
    }
    store(p.out + i, Vec::mul(result, Vec::set(factor)));
  });
}

inline void l2_normalize(const F32L2NormalizeParams& p) {
  for (int64_t r = 0; r < p.row_count; ++r) {
    const float* x = p.x + r * p.columns;
    float* y = p.y + r * p.columns;
    const float norm = std::sqrt(sum_of(x, p.columns, [](F v) { return Vec::mul(v, v); }));
    const F scale = Vec::set(1.0f / (norm > p.epsilon ? norm : p.epsilon));
    for_each_vector(p.columns, [&](int64_t i, auto load, auto store) {
      store(y + i, Vec::mul(load(x + i), scale));
    });
  }
}

inline void activation(const F32ActivationParams& p) {
  activate_rows(p.activation, p.x, 0, p.y, 0, 1, p.count);
}

template <Binary kBinary>
PELTON_INLINE F binary_of(F a, F b) {
  if constexpr (kBinary == Binary::kAdd) return Vec::add(a, b);
  if constexpr (kBinary == Binary::kSubtract) return Vec::sub(a, b);
  if constexpr (kBinary == Binary::kMultiply) return Vec::mul(a, b);
  return Vec::div(a, b);
}

template <Binary kBinary>
void binary_rows(const F32BinaryParams& p) {
  const int64_t b_stride = p.operand == BinaryOperand::kSameShape ? p.columns : 0;
  const bool scalar = p.operand == BinaryOperand::kScalar;
  for (int64_t r = 0; r < p.row_count; ++r) {
    const float* a = p.a + r * p.columns;
    const float* b = p.b + r * b_stride;
    float* y = p.y + r * p.columns;
    for_each_vector(p.columns, [&](int64_t i, auto load, auto store) {
      store(y + i, binary_of<kBinary>(load(a + i), scalar ? Vec::set(*b) : load(b + i)));
    });
  }
}

inline void binary(const F32BinaryParams& p) {
  switch (p.binary) {
    case Binary::kAdd:
      return binary_rows<Binary::kAdd>(p);
    case Binary::kSubtract:
      return binary_rows<Binary::kSubtract>(p);
    case Binary::kMultiply:
      return binary_rows<Binary::kMultiply>(p);
    case Binary::kDivide:
      return binary_rows<Binary::kDivide>(p);
  }
}

}  // namespace
