#include "kernels/cpu/tile_shape__avx512.h"
#include "kernels/cpu/vec__avx512.h"

// After the vector and the tile that it is written over.
#include "kernels/cpu/f32_gemm.inl"

namespace pelton::kernels {

void f32_gemm__avx512(const F32GemmParams& params) { ::gemm(params); }

}  // namespace pelton::kernels
