// The clock of the benches, and the interleaved measurement of several ways to do one thing.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "kernels/include/isa.h"

namespace pelton::bench {

inline double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// One way to do the work of a case.
struct Contestant {
  std::string name;
  kernels::Isa isa;
  std::function<void()> run;
};

// The same work done by each contestant. `work` is in `unit`s (multiply-adds, elements) per run.
struct Case {
  std::string op;
  std::string name;
  std::string unit;
  double work = 0.0;
  std::vector<Contestant> contestants;
};

struct MeasureOptions {
  int rounds = 15;
  double sample_seconds = 0.001;  // a sample repeats a run until it takes about that long
};

// Runs the contestants in turn, `rounds` times, in alternating order, and prints one line of JSON
// with the seconds per run of every sample.
void measure(const Case& measured, const MeasureOptions& options);

}  // namespace pelton::bench
