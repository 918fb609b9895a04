#include "kernels/cpu/tile_shape__generic.h"
#include "kernels/cpu/vec__generic.h"

// After the vector and the tile that it is written over.
#include "bench/kernels/peak.inl"
#include "bench/kernels/peak_variants.h"

namespace pelton::bench {

constinit const PeakLoops kPeakLoops_generic = {registers_loop, tile_loop, kRegistersMacs,
                                                kTileMacs};

}  // namespace pelton::bench
