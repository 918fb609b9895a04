// The row-by-row kernels against the float64 oracle.
#include <cmath>
#include <limits>

#include "kernels/reference/reference.h"
#include "tests/native/kernels/random_data.h"

namespace pelton::kernels {
namespace {

constexpr int64_t kColumnCounts[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 384};

double worst_error(const std::vector<float>& got, const std::vector<double>& expected) {
  double worst = 0.0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double error = std::abs(got[i] - expected[i]) / std::max(1.0, std::abs(expected[i]));
    worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
  }
  return worst;
}

TEST(f32_layer_norm_matches_the_oracle) {
  for_each_variant(f32_layer_norm_variants(), [](const auto& variant) {
    RandomData random(21);
    for (const int64_t columns : kColumnCounts) {
      for (const float mean : {0.0f, 100.0f}) {
        const int64_t rows = 3;
        const auto x = random.floats(rows * columns, mean - 2.0f, mean + 2.0f);
        const auto gamma = random.floats(columns);
        const auto beta = random.floats(columns);
        std::vector<float> y(x.size() + 1, 55.0f);
        F32LayerNormParams params{x.data(),     y.data(),    rows, columns,
                                  gamma.data(), beta.data(), 1e-5f};
        std::vector<double> expected(x.size());
        reference::f32_layer_norm(params, expected.data());
        variant.function(params);
        // A mean of 100 leaves 2^-24 * 100 of each value's bits, over a deviation near 1.
        EXPECT(worst_error(y, expected) <= (mean == 0.0f ? 3e-6 : 1e-4) || columns < 3);
        EXPECT(y.back() == 55.0f);
        std::vector<float> in_place = x;
        params.x = params.y = in_place.data();
        params.x = in_place.data();
        variant.function(params);
        y.pop_back();
        EXPECT(in_place == y);
      }
    }
  });
}

TEST(f32_embedding_matches_the_oracle) {
  for_each_variant(f32_embedding_variants(), [](const auto& variant) {
    RandomData random(22);
    for (const int64_t columns : kColumnCounts) {
      const auto word = random.floats(10 * columns);
      const auto position = random.floats(8 * columns);
      const auto type = random.floats(2 * columns);
      const std::vector<int32_t> ids = {9, 0, 3, 3};
      const std::vector<int32_t> types = {1, 0, 1, 0};
      for (const int form : {0, 1, 2, 3}) {
        std::vector<float> out(static_cast<size_t>(4 * columns) + 1, 55.0f);
        const F32EmbeddingParams params{ids.data(),
                                        form == 3 ? types.data() : nullptr,
                                        4,
                                        2,
                                        columns,
                                        word.data(),
                                        form >= 1 ? position.data() : nullptr,
                                        form >= 2 ? type.data() : nullptr,
                                        out.data()};
        std::vector<double> expected(static_cast<size_t>(4 * columns));
        reference::f32_embedding(params, expected.data());
        variant.function(params);
        EXPECT(worst_error(out, expected) <= 2e-7);
        EXPECT(out.back() == 55.0f);
      }
    }
  });
}

TEST(f32_pool_matches_the_oracle) {
  for_each_variant(f32_pool_variants(), [](const auto& variant) {
    RandomData random(23);
    for (const int64_t columns : kColumnCounts) {
      for (const int64_t tokens : {1, 2, 5, 200}) {
        const auto x = random.floats(tokens * columns);
        for (int pooling = 0; pooling <= 3; ++pooling) {
          std::vector<float> out(static_cast<size_t>(columns) + 1, 55.0f);
          const F32PoolParams params{x.data(), tokens, columns, static_cast<Pooling>(pooling),
                                     out.data()};
          std::vector<double> expected(static_cast<size_t>(columns));
          reference::f32_pool(params, expected.data());
          variant.function(params);
          EXPECT(worst_error(out, expected) <= 2e-6);
          EXPECT(out.back() == 55.0f);
        }
      }
    }
  });
}

TEST(f32_l2_normalize_matches_the_oracle) {
  for_each_variant(f32_l2_normalize_variants(), [](const auto& variant) {
    RandomData random(24);
    for (const int64_t columns : kColumnCounts) {
      auto x = random.floats(4 * columns);
      std::fill(x.begin(), x.begin() + columns, 0.0f);  // a zero row is divided by epsilon
      std::vector<float> y(x.size());
      const F32L2NormalizeParams params{x.data(), y.data(), 4, columns, 1e-12f};
      std::vector<double> expected(x.size());
      reference::f32_l2_normalize(params, expected.data());
      variant.function(params);
      EXPECT(worst_error(y, expected) <= 5e-7);
    }
  });
}

TEST(f32_activation_errors_are_within_the_stated_bound) {
  for_each_variant(f32_activation_variants(), [](const auto& variant) {
    std::vector<float> x;
    for (int i = -40'000; i <= 40'000; ++i) x.push_back(static_cast<float>(i) * 5e-4f);
    for (const float value : {1e-30f, 1e-10f, 1e3f, 1e10f, 3e38f}) {
      x.push_back(value);
      x.push_back(-value);
    }
    for (int a = 0; a <= static_cast<int>(Activation::kSilu); ++a) {
      std::vector<float> y(x.size());
      const auto activation = static_cast<Activation>(a);
      if (activation == Activation::kGeluTanh) x.resize(80'001);  // x^3 of the oracle overflows
      const F32ActivationParams params{x.data(), y.data(), static_cast<int64_t>(x.size()),
                                       activation};
      std::vector<double> expected(x.size());
      reference::f32_activation(params, expected.data());
      variant.function(params);
      const double worst = worst_error(y, expected);
      EXPECT(worst <= 1e-6);
      testing::note(std::string(variant.name) + " activation " + std::to_string(a) + ": error " +
                    std::to_string(worst * 1e7) + "e-7");
    }
  });
}

TEST(f32_activation_keeps_nan) {
  for_each_variant(f32_activation_variants(), [](const auto& variant) {
    for (int a = 0; a <= static_cast<int>(Activation::kSilu); ++a) {
      std::vector<float> x(19, 0.5f);
      x[3] = x[18] = std::numeric_limits<float>::quiet_NaN();
      std::vector<float> y(x.size());
      variant.function({x.data(), y.data(), 19, static_cast<Activation>(a)});
      for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == 3 || i == 18);
    }
  });
}

TEST(f32_binary_matches_the_oracle) {
  for_each_variant(f32_binary_variants(), [](const auto& variant) {
    RandomData random(25);
    for (const int64_t columns : kColumnCounts) {
      const auto a = random.floats(3 * columns);
      const auto b = random.floats(3 * columns, 0.5f, 2.0f);
      for (int op = 0; op <= 3; ++op) {
        for (int operand = 0; operand <= 2; ++operand) {
          std::vector<float> y(a.size());
          const F32BinaryParams params{a.data(),
                                       b.data(),
                                       y.data(),
                                       3,
                                       columns,
                                       static_cast<Binary>(op),
                                       static_cast<BinaryOperand>(operand)};
          std::vector<double> expected(a.size());
          reference::f32_binary(params, expected.data());
          variant.function(params);
          EXPECT(worst_error(y, expected) <= 1e-7);
        }
      }
    }
  });
}

}  // namespace
}  // namespace pelton::kernels
