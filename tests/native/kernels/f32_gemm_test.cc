// f32_gemm against the float64 oracle over odd sizes, and the laws that the executor relies on.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"
#include "tests/native/kernels/random_data.h"

namespace pelton::kernels {
namespace {

struct Problem {
  int64_t rows;
  int64_t depth;
  int64_t columns;
  Activation activation = Activation::kNone;
  bool bias = true;
  bool residual = true;
  int64_t pad = 0;  // floats between rows beyond the row itself
};

struct Data {
  std::vector<float> a, b, packed, bias, residual, c;
  F32GemmParams params;

  Data(const Problem& p, RandomData& random)
      : a(random.floats(p.rows * (p.depth + p.pad))),
        b(random.floats(p.depth * p.columns)),
        packed(pack_panels(b, p.depth, p.columns)),
        bias(random.floats(p.columns)),
        residual(random.floats(p.rows * (p.columns + p.pad))),
        c(static_cast<size_t>(p.rows * (p.columns + p.pad)), kPoison) {
    params.a = a.data();
    params.a_stride = p.depth + p.pad;
    params.b_panels = packed.data();
    params.bias = p.bias ? bias.data() : nullptr;
    params.residual = p.residual ? residual.data() : nullptr;
    params.residual_stride = p.columns + p.pad;
    params.c = c.data();
    params.c_stride = p.columns + p.pad;
    params.row_count = p.rows;
    params.depth = p.depth;
    params.column_end = p.columns;
    params.activation = p.activation;
  }
  static constexpr float kPoison = 12345.5f;
};

// depth * 2^-24 * sum |a b| with |a|, |b| <= 1, and the activation's own error.
double tolerance(const Problem& p) {
  return static_cast<double>(p.depth) * std::sqrt(static_cast<double>(p.depth)) * 6e-8 + 2e-6;
}

void expect_matches(const Problem& p, F32GemmFunction function, RandomData& random) {
  Data data(p, random);
  std::vector<double> expected(static_cast<size_t>(p.rows * p.columns));
  reference::f32_gemm(data.params, expected.data());
  function(data.params);
  double worst = 0.0;
  bool padding_kept = true;
  for (int64_t r = 0; r < p.rows; ++r) {
    for (int64_t c = 0; c < p.columns; ++c) {
      const double got = data.c[static_cast<size_t>(r * data.params.c_stride + c)];
      const double error = std::abs(got - expected[static_cast<size_t>(r * p.columns + c)]);
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    }
    for (int64_t c = p.columns; c < data.params.c_stride; ++c) {
      padding_kept &= data.c[static_cast<size_t>(r * data.params.c_stride + c)] == Data::kPoison;
    }
  }
  EXPECT(padding_kept);
  EXPECT(worst <= tolerance(p));
  if (worst > tolerance(p)) {
    testing::note("rows " + std::to_string(p.rows) + " depth " + std::to_string(p.depth) +
                  " columns " + std::to_string(p.columns) + " error " + std::to_string(worst));
  }
}

TEST(f32_gemm_matches_the_oracle_over_odd_sizes) {
  for_each_variant(f32_gemm_variants(), [](const auto& variant) {
    RandomData random(1);
    for (const int64_t rows : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 31}) {
      for (const int64_t depth : {1, 2, 7, 64, 129}) {
        for (const int64_t columns : {1, 3, 15, 16, 17, 31, 33, 47, 48, 49, 95, 96, 97, 200}) {
          expect_matches(
              {rows, depth, columns, Activation::kNone, rows % 2 == 0, depth % 2 == 0, columns % 3},
              variant.function, random);
        }
      }
    }
  });
}

TEST(f32_gemm_fuses_every_activation) {
  for_each_variant(f32_gemm_variants(), [](const auto& variant) {
    RandomData random(2);
    for (int activation = 0; activation <= static_cast<int>(Activation::kSilu); ++activation) {
      for (const int64_t columns : {1, 16, 50}) {
        expect_matches(
            {13, 24, columns, static_cast<Activation>(activation), true, columns == 50, 1},
            variant.function, random);
      }
    }
  });
}

// A row's bits do not depend on the other rows, nor on how rows and columns are cut.
TEST(f32_gemm_rows_and_columns_are_independent_bitwise) {
  for_each_variant(f32_gemm_variants(), [](const auto& variant) {
    RandomData random(3);
    const Problem problem{29, 77, 150, Activation::kGeluErf, true, true, 0};
    Data whole(problem, random);
    variant.function(whole.params);
    std::vector<float> parts(whole.c.size(), Data::kPoison);
    int64_t row = 0;
    while (row < problem.rows) {
      const int64_t rows = std::min(random.integer(1, 9), problem.rows - row);
      for (int64_t column = 0; column < problem.columns; column += 48) {
        F32GemmParams part = whole.params;
        part.a += row * part.a_stride;
        part.residual += row * part.residual_stride;
        part.c = parts.data() + row * part.c_stride;
        part.row_count = rows;
        part.column_begin = column;
        part.column_end = std::min<int64_t>(column + 48, problem.columns);
        variant.function(part);
      }
      row += rows;
    }
    EXPECT(std::memcmp(parts.data(), whole.c.data(), parts.size() * sizeof(float)) == 0);
  });
}

TEST(f32_gemm_keeps_nan_and_infinity_in_their_rows) {
  for_each_variant(f32_gemm_variants(), [](const auto& variant) {
    RandomData random(5);
    Data data({9, 20, 40, Activation::kGeluErf, true, false, 0}, random);
    data.a[2 * 20 + 3] = std::numeric_limits<float>::quiet_NaN();
    data.a[5 * 20 + 7] = std::numeric_limits<float>::infinity();
    variant.function(data.params);
    for (int64_t r = 0; r < 9; ++r) {
      for (int64_t c = 0; c < 40; ++c) {
        const float value = data.c[static_cast<size_t>(r * 40 + c)];
        if (r == 2) EXPECT(std::isnan(value));
        if (r == 5) EXPECT(!std::isfinite(value));
        if (r != 2 && r != 5) EXPECT(std::isfinite(value));
      }
    }
  });
}

}  // namespace
}  // namespace pelton::kernels
