#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"
#include "tests/native/kernels/random_data.h"

namespace pelton::kernels {
namespace {

struct Data {
  std::vector<float> qkv, out, scratch;
  F32AttentionParams params;

  Data(int64_t tokens, int64_t heads, int64_t head_dim, int64_t head, RandomData& random,
       float spread = 1.0f)
      : qkv(random.floats(tokens * 3 * heads * head_dim + 16, -spread, spread)),
        out(static_cast<size_t>(tokens * heads * head_dim), 777.0f),
        scratch(static_cast<size_t>(attention_scratch_floats(tokens, head_dim)),
                std::numeric_limits<float>::quiet_NaN()) {
    const int64_t hidden = heads * head_dim;
    params.q = qkv.data() + head * head_dim;
    params.k = params.q + hidden;
    params.v = params.k + hidden;
    params.stride = 3 * hidden;
    params.out = out.data() + head * head_dim;
    params.out_stride = hidden;
    params.token_count = tokens;
    params.head_dim = head_dim;
    params.query_end = tokens;
    params.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
    params.scratch = scratch.data();
  }
};

TEST(f32_attention_matches_the_oracle_over_odd_sizes) {
  for_each_variant(f32_attention_variants(), [](const auto& variant) {
    RandomData random(11);
    for (const int64_t tokens : {1, 2, 7, 15, 16, 17, 33, 48, 49, 130}) {
      for (const int64_t head_dim : {1, 8, 16, 20, 32, 64, 80}) {
        Data data(tokens, 3, head_dim, 2, random, 3.0f);
        std::vector<double> expected(static_cast<size_t>(tokens * head_dim));
        reference::f32_attention(data.params, expected.data());
        variant.function(data.params);
        double worst = 0.0;
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t c = 0; c < 3 * head_dim; ++c) {
            const double got = data.out[static_cast<size_t>(t * 3 * head_dim + c)];
            if (c < 2 * head_dim) {
              EXPECT(got == 777.0);
            } else {
              const auto index = static_cast<size_t>(t * head_dim + c - 2 * head_dim);
              worst = std::max(worst, std::abs(got - expected[index]));
              EXPECT(std::isfinite(got));
            }
          }
        }
        EXPECT(worst <= 3e-5);
      }
    }
  });
}

TEST(f32_attention_queries_are_independent_bitwise) {
  for_each_variant(f32_attention_variants(), [](const auto& variant) {
    RandomData random(12);
    Data data(75, 2, 32, 1, random);
    variant.function(data.params);
    std::vector<float> whole = data.out;
    std::fill(data.out.begin(), data.out.end(), 777.0f);
    for (int64_t begin = 0; begin < 75; begin += 11) {
      F32AttentionParams part = data.params;
      part.query_begin = begin;
      part.query_end = std::min<int64_t>(75, begin + 11);
      variant.function(part);
    }
    EXPECT(std::memcmp(whole.data(), data.out.data(), whole.size() * sizeof(float)) == 0);
  });
}

TEST(f32_attention_large_scores_do_not_overflow) {
  for_each_variant(f32_attention_variants(), [](const auto& variant) {
    RandomData random(13);
    Data data(20, 1, 16, 0, random, 100.0f);
    variant.function(data.params);
    for (const float value : data.out) EXPECT(std::isfinite(value));
  });
}

}  // namespace
}  // namespace pelton::kernels
