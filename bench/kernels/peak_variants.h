// The loops of each peak__<isa>.cc. Constants: reading them runs no code of that instruction set.
#pragma once

#include "bench/kernels/peak.h"

namespace pelton::bench {

extern const PeakLoops kPeakLoops_generic;
extern const PeakLoops kPeakLoops_avx2;
extern const PeakLoops kPeakLoops_avx512;

}  // namespace pelton::bench
