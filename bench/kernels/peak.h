// The fp32 ceiling of this machine, measured: multiply-adds per second of two loops per instruction
// set, on any number of threads at once.
//
// `registers` multiplies and adds in registers only. `tile` is the inner loop of the largest GEMM
// tile of that instruction set (8x48 on avx512), its operands in the L1 cache: what remains when a
// loop must also load what it multiplies. On CPUs whose clock follows the load on the core the
// second runs at a lower clock, so no GEMM can reach the first.
#pragma once

#include <cstdint>

#include "kernels/include/isa.h"

namespace pelton::bench {

// Runs `steps` steps; returns a value that depends on all of them.
using PeakLoop = float (*)(int64_t steps);

struct PeakLoops {
  PeakLoop registers;
  PeakLoop tile;
  int64_t registers_macs;  // multiply-adds per step
  int64_t tile_macs;
};

// REQUIRES: to call the loops, isa_runs_on() for this CPU.
PeakLoops peak_loops(kernels::Isa isa);

// GMAC/s, summed over the threads.
struct PeakRate {
  double best;    // of the best slice of each thread
  double median;  // of the median slice of each thread
};

struct PeakOptions {
  int threads = 1;
  double seconds = 0.1;
};

// Runs `loop` on all threads at once, in slices of about a millisecond.
PeakRate measure_peak(PeakLoop loop, int64_t macs_per_step, const PeakOptions& options);

}  // namespace pelton::bench
