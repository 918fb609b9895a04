// BatchTimeEstimate: learns how long batches of a model run, from those that ran.
#pragma once

#include <cstdint>

#include "csrc/serve/pick_batch.h"

namespace pelton {

// Least squares of time over tokens, in which a batch counts kDecay times what the next one counts;
// neither term is ever below 0. A thread that computes may lose its CPU for many times as long as a
// small batch takes: once it knows some batches, one counts as kSurpriseMax times what it would
// have said at most, or that many times its mean where that is more, for as many tokens. Not
// thread-safe.
class BatchTimeEstimate {
 public:
  void add(int64_t token_count, Nanos run_ns);
  // {0, 0} before the first batch.
  BatchTime estimate() const;
  bool is_empty() const { return weight_ == 0; }

 private:
  static constexpr double kDecay = 0.98;  // the last 50 batches or so
  static constexpr double kWeightOfTrust = 4;
  static constexpr double kSurpriseMax = 2;
  double weight_ = 0;
  double tokens_ = 0;
  double tokens_squared_ = 0;
  double time_ = 0;
  double tokens_time_ = 0;
};

}  // namespace pelton
