#include <cmath>
#include <string>

#include "bench/kernels/cases.h"

namespace pelton::bench {
namespace {

constexpr int64_t kHidden = 384;
constexpr int64_t kHeadDim = 32;
constexpr int64_t kTokens[] = {8, 16, 32, 64, 128, 256};
constexpr int64_t kTokensTiny[] = {16};
constexpr int64_t kReadPast = 16;  // floats past the last row that the kernel may read

void bench_head(int64_t tokens, const CaseOptions& options) {
  Floats qkv(tokens * 3 * kHidden + kReadPast, 1);
  Floats out(tokens * kHidden, 2);
  Floats scratch(kernels::attention_scratch_floats(tokens, kHeadDim), 3);
  kernels::F32AttentionParams p;
  p.q = qkv.data();
  p.k = p.q + kHidden;
  p.v = p.k + kHidden;
  p.stride = 3 * kHidden;
  p.out = out.data();
  p.out_stride = kHidden;
  p.token_count = tokens;
  p.head_dim = kHeadDim;
  p.query_end = tokens;
  p.scale = 1.0f / std::sqrt(static_cast<float>(kHeadDim));
  p.scratch = scratch.data();
  Case measured{"f32_attention",
                std::to_string(tokens) + " tokens, one head of 32",
                "MAC",
                static_cast<double>(2 * tokens * tokens * kHeadDim),
                {}};
  add_variants(measured, kernels::f32_attention_variants(), options.features, p);
  measure(measured, options.measure);
}

}  // namespace

void bench_attention(const CaseOptions& options) {
  const auto tokens = options.tiny ? std::span<const int64_t>(kTokensTiny) : std::span(kTokens);
  for (const int64_t count : tokens) bench_head(count, options);
}

}  // namespace pelton::bench
