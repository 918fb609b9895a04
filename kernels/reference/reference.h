// The slow, obvious oracle of every op: plain loops in float64 over the same parameter structs.
// Output pointers of the structs are ignored; results go to `out`, row-major without gaps. For
// tests only.
#pragma once

#include "kernels/include/f32_attention.h"
#include "kernels/include/f32_gemm.h"
#include "kernels/include/f32_rows.h"

namespace pelton::kernels::reference {

double activation(Activation activation, double x);

// out: [row_count, column_end - column_begin].
void f32_gemm(const F32GemmParams& p, double* out);
// out: [query_end - query_begin, head_dim].
void f32_attention(const F32AttentionParams& p, double* out);
void f32_layer_norm(const F32LayerNormParams& p, double* out);
void f32_embedding(const F32EmbeddingParams& p, double* out);
void f32_pool(const F32PoolParams& p, double* out);
void f32_l2_normalize(const F32L2NormalizeParams& p, double* out);
void f32_activation(const F32ActivationParams& p, double* out);
void f32_binary(const F32BinaryParams& p, double* out);

}  // namespace pelton::kernels::reference
