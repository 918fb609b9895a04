// BatchTimeEstimate: learns how long batches of a model run, from those that ran.
#pragma once

#include <cstdint>

#include "csrc/serve/pick_batch.h"

namespace pelton {

// Least squares of time over tokens, in which a batch counts kDecay times what the next one counts;
// neither term is ever below 0. Not thread-safe.
class BatchTimeEstimate {
 public:
  void add(int64_t token_count, Nanos run_ns);
  // {0, 0} before the first batch.
  BatchTime estimate() const;
  bool is_empty() const { return weight_ == 0; }

 private:
  static constexpr double kDecay = 0.98;  // the last 50 batches or so
  double weight_ = 0;
  double tokens_ = 0;
  double tokens_squared_ = 0;
  double time_ = 0;
  double tokens_time_ = 0;
};

}  // namespace pelton
