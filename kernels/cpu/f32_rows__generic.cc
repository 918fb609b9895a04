#include "kernels/cpu/vec__generic.h"

// After the vector and the tile that it is written over.
#include "kernels/cpu/f32_rows.inl"

namespace pelton::kernels {

void f32_layer_norm__generic(const F32LayerNormParams& params) { ::layer_norm(params); }
void f32_embedding__generic(const F32EmbeddingParams& params) { ::embedding(params); }
void f32_pool__generic(const F32PoolParams& params) { ::pool(params); }
void f32_l2_normalize__generic(const F32L2NormalizeParams& params) { ::l2_normalize(params); }
void f32_activation__generic(const F32ActivationParams& params) { ::activation(params); }
void f32_binary__generic(const F32BinaryParams& params) { ::binary(params); }

}  // namespace pelton::kernels
