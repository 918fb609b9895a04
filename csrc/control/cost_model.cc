#include "csrc/control/cost_model.h"

#include <algorithm>
#include <cmath>

#include "csrc/base/check.h"

namespace pelton {

CostModel::CostModel(const Options& options)
    : batches_per_row_(1.0 / static_cast<double>(options.batch_rows_max)),
      batches_per_token_(1.0 / static_cast<double>(options.batch_tokens_max)) {
  PELTON_CHECK(options.batch_rows_max >= 1 && options.batch_tokens_max >= 1);
}

void CostModel::learn(const BatchRun& run) {
  learn_drain(run);
  const auto tokens = static_cast<double>(run.tokens);
  auto time = static_cast<double>(std::max<Nanos>(run.ended - run.started, 0));
  if (batches_ > 0) {
    const double expected = std::max(1.0, fixed_ns() + token_ns() * tokens);
    sure_share_ = std::min(sure_share_ + kForget * (1 - sure_share_), time / expected);
    if (is_ready()) time = std::min(time, kOutlier * expected);
  }
  weight_ = kDecay * weight_ + 1;
  tokens_ = kDecay * tokens_ + tokens;
  tokens_squared_ = kDecay * tokens_squared_ + tokens * tokens;
  time_ = kDecay * time_ + time;
  tokens_time_ = kDecay * tokens_time_ + tokens * time;
  ++batches_;
  last_ended_ = run.ended;
  fit();
}

// A batch whose requests were queued before the one before it ended began as soon as the engine
// could: from end to end passes what it costs to get so much out of the queue.
void CostModel::learn_drain(const BatchRun& run) {
  if (last_ended_ == 0 || run.queued >= last_ended_ || run.ended <= last_ended_) return;
  drained_tokens_ = kDecay * drained_tokens_ + static_cast<double>(run.tokens);
  drained_time_ = kDecay * drained_time_ + static_cast<double>(run.ended - last_ended_);
}

void CostModel::fit() {
  // Batches of (nearly) one size say nothing about the slope.
  constexpr double kSpreadMin = 1e-6;
  const double spread = weight_ * tokens_squared_ - tokens_ * tokens_;
  double fixed = time_ / weight_;
  double slope = 0;
  if (spread > kSpreadMin * tokens_ * tokens_) {
    const double found = (weight_ * tokens_time_ - tokens_ * time_) / spread;
    if (found > 0) {
      slope = found;
      fixed = (time_ - slope * tokens_) / weight_;
      if (fixed < 0) {
        slope = tokens_time_ / tokens_squared_;
        fixed = 0;
      }
    }
  }
  fixed_ns_.store(fixed);
  token_ns_.store(slope);
}

double CostModel::work_ns(int64_t rows, int64_t tokens) const {
  return std::max(1.0, batches_of(rows, tokens)) * fixed_ns() +
         static_cast<double>(tokens) * token_ns();
}

double CostModel::drain_ns(int64_t rows, int64_t tokens) const {
  if (!is_ready()) return 0;
  if (drained_tokens_ == 0) return work_ns(rows, tokens);
  return static_cast<double>(tokens) * drained_time_ / drained_tokens_;
}

int64_t retry_after_ms(double wait_ns) {
  constexpr double kMost = 60'000;
  if (wait_ns <= 0) return 0;
  return static_cast<int64_t>(std::ceil(std::clamp(wait_ns / 1e6, 1.0, kMost)));
}

}  // namespace pelton
