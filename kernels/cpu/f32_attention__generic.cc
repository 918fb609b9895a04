#include "kernels/cpu/tile_shape__generic.h"
#include "kernels/cpu/vec__generic.h"

// After the vector and the tile that it is written over.
#include "kernels/cpu/f32_attention.inl"

namespace pelton::kernels {

void f32_attention__generic(const F32AttentionParams& params) { ::attention(params); }

}  // namespace pelton::kernels
