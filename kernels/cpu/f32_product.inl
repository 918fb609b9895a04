// Matrix products over Vec, shared by GEMM and attention: panels outside, row strips inside, so
// that a panel group is read from far memory once per call and from L2 or L1 by every strip.
// REQUIRES before inclusion: vec__<isa>.h, kTileRows (rows of the widest strip, at most 9) and
// tile_panels(rows): the most panels of a tile with that many rows, one of 1, 2, 3, 6.
#pragma once

#include <cstdint>

#include "kernels/cpu/f32_math.inl"
#include "kernels/cpu/f32_tile.inl"

namespace {

constexpr int64_t kPanelWidth = 16;

// c = activation((a b) * row_scale + bias) + residual for columns [0, columns).
struct Product {
  const float* a;
  int64_t a_stride;
  const float* b;  // panel p's row k: b + p * b_panel_stride + k * b_step, 16 floats
  int64_t b_step;
  int64_t b_panel_stride;
  int64_t rows;
  int64_t depth;
  int64_t columns;
  const float* row_scale;  // [rows] or nullptr
  const float* bias;       // [columns] or nullptr
  const float* residual;   // [rows, columns] or nullptr
  int64_t residual_stride;
  float* c;
  int64_t c_stride;
  Activation activation;
};

struct StripOutput {
  const float* row_scale;  // of the tile's rows, or nullptr
  const float* bias;       // at the tile's first column, or nullptr
  const float* residual;
  int64_t residual_stride;
  float* c;
  int64_t c_stride;
  int64_t columns;  // that exist, of kPanels * 16
};

// Writes acc * row_scale + bias + residual.
template <int kRows, int kPanels>
PELTON_INLINE void store_tile(const F (&acc)[kRows][kPanels * kVectorsPerPanel],
                              const StripOutput& out) {
  constexpr int kVectors = kPanels * kVectorsPerPanel;
#pragma GCC unroll 16
  for (int v = 0; v < kVectors; ++v) {
    const int64_t column = v * Vec::kWidth;
    const int64_t rest = out.columns - column;
    if (rest >= Vec::kWidth) {
      const F bias = out.bias ? Vec::load(out.bias + column) : Vec::zero();
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        F value = out.row_scale ? Vec::mul(acc[m][v], Vec::set(out.row_scale[m])) : acc[m][v];
        value = Vec::add(value, bias);
        if (out.residual) {
          value = Vec::add(value, Vec::load(out.residual + m * out.residual_stride + column));
        }
        Vec::store(out.c + m * out.c_stride + column, value);
      }
    } else if (rest > 0) {
      const F bias = out.bias ? Vec::load_first(out.bias + column, rest) : Vec::zero();
#pragma GCC unroll 16
      for (int m = 0; m < kRows; ++m) {
        F value = out.row_scale ? Vec::mul(acc[m][v], Vec::set(out.row_scale[m])) : acc[m][v];
        value = Vec::add(value, bias);
        if (out.residual) {
          const float* residual = out.residual + m * out.residual_stride + column;
          value = Vec::add(value, Vec::load_first(residual, rest));
        }
        Vec::store_first(out.c + m * out.c_stride + column, value, rest);
      }
    }
  }
}

template <int kRows, int kPanels>
__attribute__((noipa)) void product_tile(const TileOperands& operands, const StripOutput& out) {
  F acc[kRows][kPanels * kVectorsPerPanel];
  multiply_tile<kRows, kPanels>(operands, acc);
  store_tile<kRows, kPanels>(acc, out);
}

using TileFunction = void (*)(const TileOperands&, const StripOutput&);

template <int kRows>
constexpr TileFunction tile_function(int panels) {
  if constexpr (tile_panels(kRows) >= 6) {
    if (panels == 6) return product_tile<kRows, 6>;
  }
  if constexpr (tile_panels(kRows) >= 3) {
    if (panels == 3) return product_tile<kRows, 3>;
  }
  if constexpr (tile_panels(kRows) >= 2) {
    if (panels == 2) return product_tile<kRows, 2>;
  }
  return product_tile<kRows, 1>;
}

TileFunction tile_function_for(int64_t rows, int panels) {
  switch (rows) {
    case 1:
      if constexpr (kTileRows >= 1) return tile_function<1>(panels);
      break;
    case 2:
      if constexpr (kTileRows >= 2) return tile_function<2>(panels);
      break;
    case 3:
      if constexpr (kTileRows >= 3) return tile_function<3>(panels);
      break;
    case 4:
      if constexpr (kTileRows >= 4) return tile_function<4>(panels);
      break;
    case 5:
      if constexpr (kTileRows >= 5) return tile_function<5>(panels);
      break;
    case 6:
      if constexpr (kTileRows >= 6) return tile_function<6>(panels);
      break;
    case 7:
      if constexpr (kTileRows >= 7) return tile_function<7>(panels);
      break;
    case 8:
      if constexpr (kTileRows >= 8) return tile_function<8>(panels);
      break;
    case 9:
      if constexpr (kTileRows >= 9) return tile_function<9>(panels);
      break;
    default:
      break;
  }
  __builtin_unreachable();
}

// The widest tile with at most `limit` panels.
constexpr int panels_at_most(int64_t limit) {
  return limit >= 6 ? 6 : limit >= 3 ? 3 : limit >= 2 ? 2 : 1;
}

// y += x.
void add_rows(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows,
              int64_t columns) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * x_stride;
    float* to = y + r * y_stride;
    for_each_vector(columns, [&](int64_t i, auto load, auto store) {
      store(to + i, Vec::add(load(to + i), load(from + i)));
    });
  }
}

// Columns [column, column + panels * 16) of every row, strip by strip, strips as equal as can be.
void multiply_panel_group(const Product& p, int64_t column, int panels) {
  const float* b = p.b + (column / kPanelWidth) * p.b_panel_stride;
  const int64_t panels_after = (p.columns - column + kPanelWidth - 1) / kPanelWidth - panels;
  const int64_t strip_count = (p.rows + kTileRows - 1) / kTileRows;
  const int64_t columns_left = p.columns - column;
  const int64_t columns = columns_left < panels * kPanelWidth ? columns_left : panels * kPanelWidth;
  int64_t row = 0;
  for (int64_t s = 0; s < strip_count; ++s) {
    const int64_t rows = (p.rows - row + (strip_count - s) - 1) / (strip_count - s);
    // Strip s fetches the s-th panel of the next group.
    const bool fetch = s < panels && s < panels_after;
    const TileOperands operands{p.a + row * p.a_stride,
                                p.a_stride,
                                b,
                                p.b_step,
                                p.b_panel_stride,
                                p.depth,
                                fetch ? b + (panels + s) * p.b_panel_stride : b};
    const bool activate = p.activation != Activation::kNone;
    float* c = p.c + row * p.c_stride + column;
    const float* residual = p.residual ? p.residual + row * p.residual_stride + column : nullptr;
    const StripOutput out{p.row_scale ? p.row_scale + row : nullptr,
                          p.bias ? p.bias + column : nullptr,
                          activate ? nullptr : residual,
                          p.residual_stride,
                          c,
                          p.c_stride,
                          columns};
    tile_function_for(rows, panels)(operands, out);
    if (activate) {
      activate_rows(p.activation, c, p.c_stride, c, p.c_stride, rows, columns);
      if (residual) add_rows(residual, p.residual_stride, c, p.c_stride, rows, columns);
    }
    row += rows;
  }
}

void multiply(const Product& p) {
  if (p.rows == 0) return;
  // Strips differ by at most one row; the largest decides how many panels fit the registers.
  const int64_t strip_count = (p.rows + kTileRows - 1) / kTileRows;
  const int panels_max = tile_panels(static_cast<int>((p.rows + strip_count - 1) / strip_count));
  int64_t column = 0;
  while (column < p.columns) {
    const int64_t left = (p.columns - column + kPanelWidth - 1) / kPanelWidth;
    const int panels = panels_at_most(left < panels_max ? left : panels_max);
    multiply_panel_group(p, column, panels);
    column += panels * kPanelWidth;
  }
}

}  // namespace
