#include "kernels/cpu/tile_shape__generic.h"
#include "kernels/cpu/vec__generic.h"

// After the vector and the tile that it is written over.
#include "kernels/cpu/f32_gemm.inl"

namespace pelton::kernels {

void f32_gemm__generic(const F32GemmParams& params) { ::gemm(params); }

}  // namespace pelton::kernels
