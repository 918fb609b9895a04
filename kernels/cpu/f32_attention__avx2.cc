#include "kernels/cpu/tile_shape__avx2.h"
#include "kernels/cpu/vec__avx2.h"

// After the vector and the tile that it is written over.
#include "kernels/cpu/f32_attention.inl"

namespace pelton::kernels {

void f32_attention__avx2(const F32AttentionParams& params) { ::attention(params); }

}  // namespace pelton::kernels
