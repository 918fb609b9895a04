// Kernels that work row by row: layer norm, embedding, pooling, L2 normalization, activation,
// binary. Rows are contiguous; strides are in floats. Each row's result depends on that row alone.
// The caller owns all memory; nothing is allocated; pointers need 4-byte alignment. Outputs may
// equal inputs (same pointer and stride) unless said. Thread-safe.
#pragma once

#include <cstdint>

#include "kernels/include/activation.h"

namespace pelton::kernels {

// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta; the variance is the mean of the centred
// squares, in a second pass (Ba et al. 2016, "Layer Normalization").
struct F32LayerNormParams {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t row_count = 0;
  int64_t columns = 0;  // REQUIRES: >= 1; also the row stride
  const float* gamma = nullptr;
  const float* beta = nullptr;
  float epsilon = 0.0f;
};
using F32LayerNormFunction = void (*)(const F32LayerNormParams& params);

// out[t] = word[ids[t]] + position[first_position + t] + type[type_ids ? type_ids[t] : 0] for the
// tokens of one sequence (or a part of it). Tables that are nullptr add nothing. REQUIRES: every
// index lies in its table.
struct F32EmbeddingParams {
  const int32_t* ids = nullptr;
  const int32_t* type_ids = nullptr;
  int64_t token_count = 0;
  int64_t first_position = 0;
  int64_t columns = 0;
  const float* word = nullptr;
  const float* position = nullptr;
  const float* type = nullptr;
  float* out = nullptr;  // not an input
};
using F32EmbeddingFunction = void (*)(const F32EmbeddingParams& params);

enum class Pooling : int { kMean = 0, kCls = 1, kMax = 2, kMeanSqrtLength = 3 };

// One sequence [token_count, columns] -> one row: mean, first token, maximum, or sum /
// sqrt(token_count).
struct F32PoolParams {
  const float* x = nullptr;
  int64_t token_count = 0;  // REQUIRES: >= 1
  int64_t columns = 0;
  Pooling pooling = Pooling::kMean;
  float* out = nullptr;  // not an input
};
using F32PoolFunction = void (*)(const F32PoolParams& params);

// y = x / max(|x|_2, epsilon) per row.
struct F32L2NormalizeParams {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t row_count = 0;
  int64_t columns = 0;
  float epsilon = 0.0f;
};
using F32L2NormalizeFunction = void (*)(const F32L2NormalizeParams& params);

struct F32ActivationParams {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t count = 0;
  Activation activation = Activation::kNone;
};
using F32ActivationFunction = void (*)(const F32ActivationParams& params);

enum class Binary : int { kAdd = 0, kSubtract = 1, kMultiply = 2, kDivide = 3 };
enum class BinaryOperand : int { kSameShape = 0, kRow = 1, kScalar = 2 };

// y = a op b; b has a's shape, or is one row or one scalar applied to every row.
struct F32BinaryParams {
  const float* a = nullptr;
  const float* b = nullptr;
  float* y = nullptr;
  int64_t row_count = 0;
  int64_t columns = 0;
  Binary binary = Binary::kAdd;
  BinaryOperand operand = BinaryOperand::kSameShape;
};
using F32BinaryFunction = void (*)(const F32BinaryParams& params);

}  // namespace pelton::kernels
