// f32_gemm as a Product. Included after vec__<isa>.h and tile_shape__<isa>.h.
#pragma once

#include "kernels/cpu/f32_product.inl"
#include "kernels/include/f32_gemm.h"

namespace {

inline void gemm(const pelton::kernels::F32GemmParams& p) {
  const int64_t begin = p.column_begin;
  Product product{};
  product.a = p.a;
  product.a_stride = p.a_stride;
  product.b = p.b_panels + (begin / kPanelWidth) * p.depth * kPanelWidth;
  product.b_step = kPanelWidth;
  product.b_panel_stride = p.depth * kPanelWidth;
  product.rows = p.row_count;
  product.depth = p.depth;
  product.columns = p.column_end - begin;
  product.bias = p.bias ? p.bias + begin : nullptr;
  product.residual = p.residual ? p.residual + begin : nullptr;
  product.residual_stride = p.residual_stride;
  product.c = p.c + begin;
  product.c_stride = p.c_stride;
  product.activation = p.activation;
  multiply(product);
}

}  // namespace
