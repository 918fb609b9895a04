#include "csrc/serve/batch_time_estimate.h"

#include <algorithm>

namespace pelton {

void BatchTimeEstimate::add(int64_t token_count, Nanos run_ns) {
  const auto tokens = static_cast<double>(token_count);
  auto time = static_cast<double>(run_ns);
  if (weight_ >= kWeightOfTrust) {
    const double mean_scaled = time_ / weight_ * std::max(1.0, tokens * weight_ / tokens_);
    const auto expected = static_cast<double>(estimate().of(token_count));
    time = std::min(time, kSurpriseMax * std::max(mean_scaled, expected));
  }
  weight_ = kDecay * weight_ + 1;
  tokens_ = kDecay * tokens_ + tokens;
  tokens_squared_ = kDecay * tokens_squared_ + tokens * tokens;
  time_ = kDecay * time_ + time;
  tokens_time_ = kDecay * tokens_time_ + tokens * time;
}

BatchTime BatchTimeEstimate::estimate() const {
  if (weight_ == 0) return {};
  // Batches of (nearly) one size say nothing about the slope.
  constexpr double kSpreadMin = 1e-6;
  const double spread = weight_ * tokens_squared_ - tokens_ * tokens_;
  if (spread <= kSpreadMin * tokens_ * tokens_) return {.fixed_ns = time_ / weight_};
  const double slope = (weight_ * tokens_time_ - tokens_ * time_) / spread;
  if (slope <= 0) return {.fixed_ns = time_ / weight_};
  const double fixed = (time_ - slope * tokens_) / weight_;
  if (fixed < 0) return {.token_ns = tokens_time_ / tokens_squared_};
  return {.fixed_ns = fixed, .token_ns = slope};
}

}  // namespace pelton
