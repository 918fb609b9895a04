#include <string>
#include <vector>

#include "bench/kernels/cases.h"

namespace pelton::bench {
namespace {

using kernels::Activation;
using kernels::F32GemmParams;

struct Shape {
  const char* name;
  int64_t depth;
  int64_t columns;
  Activation activation;
  bool residual;
};

// The GEMMs of one layer as the compiler fuses them.
constexpr Shape kShapes[] = {
    {"384x1152 (q, k, v)", 384, 1152, Activation::kNone, false},
    {"384x384 (out, residual)", 384, 384, Activation::kNone, true},
    {"384x1536 (up, GELU)", 384, 1536, Activation::kGeluErf, false},
    {"1536x384 (down, residual)", 1536, 384, Activation::kNone, true},
};
// One token, less than a tile, tiles, a short and a long sequence, several sequences together.
constexpr int64_t kRows[] = {1, 4, 8, 16, 96, 168};
constexpr int64_t kRowsTiny[] = {8};

void bench_shape(const Shape& shape, int64_t rows, const CaseOptions& options) {
  Floats a(rows * shape.depth, 1);
  Floats b(shape.depth * shape.columns, 2);  // any values: a panel layout of them is as good
  Floats bias(shape.columns, 3);
  Floats residual(rows * shape.columns, 4);
  Floats c(rows * shape.columns, 5);
  F32GemmParams p;
  p.a = a.data();
  p.a_stride = shape.depth;
  p.b_panels = b.data();
  p.bias = bias.data();
  p.residual = shape.residual ? residual.data() : nullptr;
  p.residual_stride = shape.columns;
  p.c = c.data();
  p.c_stride = shape.columns;
  p.row_count = rows;
  p.depth = shape.depth;
  p.column_end = shape.columns;
  p.activation = shape.activation;
  Case measured{"f32_gemm",
                std::to_string(rows) + "x" + shape.name,
                "MAC",
                static_cast<double>(rows * shape.depth * shape.columns),
                {}};
  add_variants(measured, kernels::f32_gemm_variants(), options.features, p);
  measure(measured, options.measure);
}

}  // namespace

void bench_gemm(const CaseOptions& options) {
  const auto rows = options.tiny ? std::span<const int64_t>(kRowsTiny) : std::span(kRows);
  for (const Shape& shape : kShapes) {
    for (const int64_t row_count : rows) bench_shape(shape, row_count, options);
  }
}

}  // namespace pelton::bench
