#include "kernels/cpu/tile_shape__avx2.h"
#include "kernels/cpu/vec__avx2.h"

// After the vector and the tile that it is written over.
#include "bench/kernels/peak.inl"
#include "bench/kernels/peak_variants.h"

namespace pelton::bench {

constinit const PeakLoops kPeakLoops_avx2 = {registers_loop, tile_loop, kRegistersMacs, kTileMacs};

}  // namespace pelton::bench
