#include "kernels/cpu/vec__avx512.h"

// After the vector and the tile that it is written over.
#include "kernels/cpu/f32_rows.inl"

namespace pelton::kernels {

void f32_layer_norm__avx512(const F32LayerNormParams& params) { ::layer_norm(params); }
void f32_embedding__avx512(const F32EmbeddingParams& params) { ::embedding(params); }
void f32_pool__avx512(const F32PoolParams& params) { ::pool(params); }
void f32_l2_normalize__avx512(const F32L2NormalizeParams& params) { ::l2_normalize(params); }
void f32_activation__avx512(const F32ActivationParams& params) { ::activation(params); }
void f32_binary__avx512(const F32BinaryParams& params) { ::binary(params); }

}  // namespace pelton::kernels
