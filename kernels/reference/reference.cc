#include "kernels/reference/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace pelton::kernels::reference {
namespace {

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

double packed(const F32GemmParams& p, int64_t k, int64_t column) {
  const int64_t panel = column / kPanelColumns;
  return p.b_panels[(panel * p.depth + k) * kPanelColumns + column % kPanelColumns];
}

}  // namespace

double activation(Activation activation, double x) {
  switch (activation) {
    case Activation::kNone:
      return x;
    case Activation::kRelu:
      return std::isnan(x) ? x : std::max(x, 0.0);
    case Activation::kGeluErf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::kGeluTanh:
      return 0.5 * x *
             (1.0 + std::tanh(std::sqrt(2.0 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
    case Activation::kTanh:
      return std::tanh(x);
    case Activation::kSigmoid:
      return sigmoid(x);
    case Activation::kSilu:
      return x * sigmoid(x);
  }
  return std::numeric_limits<double>::quiet_NaN();
}

void f32_gemm(const F32GemmParams& p, double* out) {
  for (int64_t r = 0; r < p.row_count; ++r) {
    for (int64_t c = p.column_begin; c < p.column_end; ++c) {
      double sum = 0.0;
      for (int64_t k = 0; k < p.depth; ++k)
        sum += double{p.a[r * p.a_stride + k]} * packed(p, k, c);
      if (p.bias) sum += p.bias[c];
      sum = activation(p.activation, sum);
      if (p.residual) sum += p.residual[r * p.residual_stride + c];
      *out++ = sum;
    }
  }
}

void f32_attention(const F32AttentionParams& p, double* out) {
  std::vector<double> weights(static_cast<size_t>(p.token_count));
  for (int64_t query = p.query_begin; query < p.query_end; ++query) {
    double largest = -std::numeric_limits<double>::infinity();
    for (int64_t t = 0; t < p.token_count; ++t) {
      double score = 0.0;
      for (int64_t d = 0; d < p.head_dim; ++d) {
        score += double{p.q[query * p.stride + d]} * p.k[t * p.stride + d];
      }
      weights[static_cast<size_t>(t)] = score * p.scale;
      largest = std::max(largest, score * p.scale);
    }
    double total = 0.0;
    for (double& weight : weights) total += weight = std::exp(weight - largest);
    for (int64_t d = 0; d < p.head_dim; ++d) {
      double sum = 0.0;
      for (int64_t t = 0; t < p.token_count; ++t) {
        sum += weights[static_cast<size_t>(t)] * p.v[t * p.stride + d];
      }
      *out++ = sum / total;
    }
  }
}

void f32_layer_norm(const F32LayerNormParams& p, double* out) {
  for (int64_t r = 0; r < p.row_count; ++r) {
    const float* x = p.x + r * p.columns;
    double mean = 0.0;
    for (int64_t c = 0; c < p.columns; ++c) mean += x[c];
    mean /= static_cast<double>(p.columns);
    double variance = 0.0;
    for (int64_t c = 0; c < p.columns; ++c) variance += (x[c] - mean) * (x[c] - mean);
    variance /= static_cast<double>(p.columns);
    for (int64_t c = 0; c < p.columns; ++c) {
      *out++ = (x[c] - mean) / std::sqrt(variance + p.epsilon) * p.gamma[c] + p.beta[c];
    }
  }
}

void f32_embedding(const F32EmbeddingParams& p, double* out) {
  for (int64_t t = 0; t < p.token_count; ++t) {
    for (int64_t c = 0; c < p.columns; ++c) {
      double sum = p.word[p.ids[t] * p.columns + c];
      if (p.position) sum += p.position[(p.first_position + t) * p.columns + c];
      if (p.type) sum += p.type[(p.type_ids ? p.type_ids[t] : 0) * p.columns + c];
      *out++ = sum;
    }
  }
}

void f32_pool(const F32PoolParams& p, double* out) {
  for (int64_t c = 0; c < p.columns; ++c) {
    double sum = 0.0;
    double largest = p.x[c];
    for (int64_t t = 0; t < p.token_count; ++t) {
      sum += p.x[t * p.columns + c];
      largest = std::max(largest, double{p.x[t * p.columns + c]});
    }
    const double count = static_cast<double>(p.token_count);
    switch (p.pooling) {
      case Pooling::kMean:
        *out++ = sum / count;
        break;
      case Pooling::kCls:
        *out++ = p.x[c];
        break;
      case Pooling::kMax:
        *out++ = largest;
        break;
      case Pooling::kMeanSqrtLength:
        *out++ = sum / std::sqrt(count);
        break;
    }
  }
}

void f32_l2_normalize(const F32L2NormalizeParams& p, double* out) {
  for (int64_t r = 0; r < p.row_count; ++r) {
    const float* x = p.x + r * p.columns;
    double squares = 0.0;
    for (int64_t c = 0; c < p.columns; ++c) squares += double{x[c]} * x[c];
    const double norm = std::max(std::sqrt(squares), double{p.epsilon});
    for (int64_t c = 0; c < p.columns; ++c) *out++ = x[c] / norm;
  }
}

void f32_activation(const F32ActivationParams& p, double* out) {
  for (int64_t i = 0; i < p.count; ++i) out[i] = activation(p.activation, p.x[i]);
}

void f32_binary(const F32BinaryParams& p, double* out) {
  for (int64_t i = 0; i < p.row_count * p.columns; ++i) {
    const int64_t j = p.operand == BinaryOperand::kSameShape ? i
                      : p.operand == BinaryOperand::kRow     ? i % p.columns
                                                             : 0;
    const double a = p.a[i];
    const double b = p.b[j];
    switch (p.binary) {
      case Binary::kAdd:
        out[i] = a + b;
        break;
      case Binary::kSubtract:
        out[i] = a - b;
        break;
      case Binary::kMultiply:
        out[i] = a * b;
        break;
      case Binary::kDivide:
        out[i] = a / b;
        break;
    }
  }
}

}  // namespace pelton::kernels::reference
