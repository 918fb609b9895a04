// CostModel: how long batches of a model run, and how fast its queue drains, learned from those
// that ran.
#pragma once

#include <algorithm>
#include <cstdint>

#include "csrc/base/clock.h"
#include "csrc/control/request_gate.h"
#include "csrc/control/single_writer.h"

namespace pelton {

// Least squares of the time of a batch over its tokens (dense models: rows), in which a batch
// counts kDecay times what the next one counts. Thread-safe: learn() from one thread at a time, and
// what it says from the same; fixed_ns() and token_ns() from any.
class CostModel {
 public:
  struct Options {
    int64_t batch_rows_max = 32;
    int64_t batch_tokens_max = 16'384;
  };
  // Batches before which it says nothing.
  static constexpr int64_t kBatchesMin = 16;

  // REQUIRES: both limits at least 1.
  explicit CostModel(const Options& options);

  // One batch; in the order in which they ran, each once. One that took far longer than the others
  // of its size counts as kOutlier times what was expected: a page fault is not the model's cost,
  // and what has really become slower shows after a few batches.
  void learn(const BatchRun& run);

  bool is_ready() const { return batches_ >= kBatchesMin; }
  // When the last batch ended; 0: none did.
  Nanos last_ended() const { return last_ended_; }
  // The least time in which this much is run: in batches as large as they may be, with nothing in
  // between. share_ns() is that of work which fills its last batch with other work. REQUIRES:
  // is_ready().
  double work_ns(int64_t rows, int64_t tokens) const;
  double share_ns(int64_t rows, int64_t tokens) const {
    return batches_of(rows, tokens) * fixed_ns() + static_cast<double>(tokens) * token_ns();
  }
  // The share of work_ns() that even fast batches take: the least that one of the last 50 or so
  // took of what was expected of it. At most 1.
  double sure_share() const { return sure_share_; }
  // The time in which a queue that holds this much has been seen to drain, other models' share of
  // the engine included. 0 before is_ready().
  double drain_ns(int64_t rows, int64_t tokens) const;

  // The line that was fitted.
  double fixed_ns() const { return fixed_ns_.load(); }
  double token_ns() const { return token_ns_.load(); }

 private:
  static constexpr double kDecay = 0.98;  // the last 50 batches or so
  static constexpr double kOutlier = 4;
  static constexpr double kForget = 1 - kDecay;

  double batches_of(int64_t rows, int64_t tokens) const {
    return std::max(static_cast<double>(rows) * batches_per_row_,
                    static_cast<double>(tokens) * batches_per_token_);
  }
  void learn_drain(const BatchRun& run);
  void fit();

  const double batches_per_row_;
  const double batches_per_token_;
  int64_t batches_ = 0;
  Nanos last_ended_ = 0;
  // Decayed sums over batches.
  double weight_ = 0;
  double tokens_ = 0;
  double tokens_squared_ = 0;
  double time_ = 0;
  double tokens_time_ = 0;
  double sure_share_ = 0.5;  // until more is known
  // Decayed sums over batches that began with a queue.
  double drained_tokens_ = 0;
  double drained_time_ = 0;
  SingleWriter<double> fixed_ns_;
  SingleWriter<double> token_ns_;
};

// In milliseconds, from 1 to a minute; 0 for 0: not known.
int64_t retry_after_ms(double wait_ns);

}  // namespace pelton
