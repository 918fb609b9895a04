#include <string>
#include <vector>

#include "bench/kernels/cases.h"

namespace pelton::bench {
namespace {

using kernels::Activation;

constexpr int64_t kHidden = 384;
constexpr int64_t kInner = 1536;
constexpr int64_t kVocabulary = 2048;  // rows that fit the caches; a real table is read at random
constexpr float kEpsilon = 1e-12f;

std::string shape_name(int64_t rows, int64_t columns) {
  return std::to_string(rows) + "x" + std::to_string(columns);
}

Case row_case(const char* op, const std::string& name, int64_t elements) {
  return {op, name, "element", static_cast<double>(elements), {}};
}

void bench_layer_norm(int64_t rows, const CaseOptions& options) {
  const int64_t count = rows * kHidden;
  Floats x(count, 1);
  Floats y(count, 2);
  Floats gamma(kHidden, 3);
  Floats beta(kHidden, 4);
  const kernels::F32LayerNormParams p{x.data(),     y.data(),    rows,    kHidden,
                                      gamma.data(), beta.data(), kEpsilon};
  Case measured = row_case("f32_layer_norm", shape_name(rows, kHidden), count);
  add_variants(measured, kernels::f32_layer_norm_variants(), options.features, p);
  add_copy(measured, y.data(), x.data(), 2 * count);
  measure(measured, options.measure);
}

void bench_l2_normalize(int64_t rows, const CaseOptions& options) {
  const int64_t count = rows * kHidden;
  Floats x(count, 1);
  Floats y(count, 2);
  const kernels::F32L2NormalizeParams p{x.data(), y.data(), rows, kHidden, kEpsilon};
  Case measured = row_case("f32_l2_normalize", shape_name(rows, kHidden), count);
  add_variants(measured, kernels::f32_l2_normalize_variants(), options.features, p);
  add_copy(measured, y.data(), x.data(), 2 * count);
  measure(measured, options.measure);
}

void bench_embedding(int64_t tokens, const CaseOptions& options) {
  Floats word(kVocabulary * kHidden, 1);
  Floats position(tokens * kHidden, 2);
  Floats out(tokens * kHidden, 3);
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t) ids.push_back(static_cast<int32_t>(t * 797 % kVocabulary));
  kernels::F32EmbeddingParams p;
  p.ids = ids.data();
  p.token_count = tokens;
  p.columns = kHidden;
  p.word = word.data();
  p.position = position.data();
  p.out = out.data();
  Case measured = row_case("f32_embedding", shape_name(tokens, kHidden), tokens * kHidden);
  add_variants(measured, kernels::f32_embedding_variants(), options.features, p);
  add_copy(measured, out.data(), word.data(), 3 * tokens * kHidden / 2);
  measure(measured, options.measure);
}

void bench_pool(int64_t tokens, const CaseOptions& options) {
  const int64_t count = tokens * kHidden;
  Floats x(count, 1);
  Floats y(count, 2);
  const kernels::F32PoolParams p{x.data(), tokens, kHidden, kernels::Pooling::kMean, y.data()};
  Case measured = row_case("f32_pool", shape_name(tokens, kHidden) + " (mean)", count);
  add_variants(measured, kernels::f32_pool_variants(), options.features, p);
  add_copy(measured, y.data(), x.data(), count + kHidden);
  measure(measured, options.measure);
}

void bench_activation(const char* name, Activation activation, int64_t rows,
                      const CaseOptions& options) {
  const int64_t count = rows * kInner;
  Floats x(count, 1);
  Floats y(count, 2);
  const kernels::F32ActivationParams p{x.data(), y.data(), count, activation};
  Case measured = row_case("f32_activation", shape_name(rows, kInner) + " (" + name + ")", count);
  add_variants(measured, kernels::f32_activation_variants(), options.features, p);
  add_copy(measured, y.data(), x.data(), 2 * count);
  measure(measured, options.measure);
}

void bench_binary(int64_t rows, const CaseOptions& options) {
  const int64_t count = rows * kInner;
  Floats a(count, 1);
  Floats b(count, 2);
  Floats y(count, 3);
  const kernels::F32BinaryParams p{a.data(),
                                   b.data(),
                                   y.data(),
                                   rows,
                                   kInner,
                                   kernels::Binary::kAdd,
                                   kernels::BinaryOperand::kSameShape};
  Case measured = row_case("f32_binary", shape_name(rows, kInner) + " (add)", count);
  add_variants(measured, kernels::f32_binary_variants(), options.features, p);
  add_copy(measured, y.data(), a.data(), 2 * count);
  measure(measured, options.measure);
}

}  // namespace

void bench_rows(const CaseOptions& options) {
  const int64_t rows = options.tiny ? 2 : 96;
  bench_embedding(rows, options);
  bench_layer_norm(rows, options);
  bench_activation("GELU", Activation::kGeluErf, rows, options);
  bench_activation("tanh GELU", Activation::kGeluTanh, rows, options);
  bench_activation("ReLU", Activation::kRelu, rows, options);
  bench_activation("tanh", Activation::kTanh, rows, options);
  bench_activation("sigmoid", Activation::kSigmoid, rows, options);
  bench_activation("SiLU", Activation::kSilu, rows, options);
  bench_binary(rows, options);
  bench_pool(rows, options);
  bench_l2_normalize(rows, options);
}

}  // namespace pelton::bench
