#include "csrc/control/deadline_gate.h"

#include <algorithm>

namespace pelton {

size_t DeadlineGate::level_of(const GateRequest& request) {
  return static_cast<size_t>(std::clamp(request.priority, 1, static_cast<int>(kLevels)) - 1);
}

GateDecision DeadlineGate::before(GateRequest& request, Nanos now) {
  if (request.deadline != kNoDeadline) {
    Refusal refusal;
    refusal.kind = ProblemKind::kDeadlineExceeded;
    if (request.deadline <= now) {
      refusal.what = "the deadline passed before the request was queued";
      return GateDecision::reject(refusal);
    }
    if (request.token_count > 0 && is_trusted(now)) {
      const auto least = static_cast<Nanos>(least_ns(request, now) + 0.5);
      const Nanos left = request.deadline - now;
      if (least > left) {
        refusal.what =
            "the deadline cannot be met: microseconds of waiting and running would be at least";
        refusal.limit_name = "microseconds_left";
        refusal.came = least / 1000;
        refusal.limit = left / 1000;
        return GateDecision::reject(refusal);
      }
    }
  }
  ++in_flight_;
  Level& level = levels_[level_of(request)];
  const EngagedWork work = engaged_work(request, options_.request_rows_max);
  if (request.deadline == kNoDeadline) {
    level.endless.add(work);
  } else {
    level.dated.add(work);
    ++level.dated_requests;
    level.latest = std::max(level.latest, request.deadline);
  }
  return GateDecision::accept();
}

void DeadlineGate::after(const GateRequest& request, RequestEnd /*end*/, Nanos /*now*/) {
  --in_flight_;
  Level& level = levels_[level_of(request)];
  const EngagedWork work = engaged_work(request, options_.request_rows_max);
  if (request.deadline == kNoDeadline) return level.endless.subtract(work);
  level.dated.subtract(work);
  if (--level.dated_requests == 0) level.latest = 0;
}

bool DeadlineGate::is_trusted(Nanos now) const {
  return cost_.is_ready() && (in_flight_ > 0 || now - cost_.last_ended() < kStaleNs);
}

DeadlineGate::Level DeadlineGate::ahead_of(const GateRequest& request) const {
  Level ahead;
  const size_t own = level_of(request);
  for (size_t i = 0; i <= own; ++i) {
    const Level& level = levels_[i];
    if (i < own) ahead.endless.add(level.endless);
    if (i == own && level.latest > request.deadline) continue;
    ahead.dated.add(level.dated);
    ahead.latest = std::max(ahead.latest, level.latest);
  }
  return ahead;
}

double DeadlineGate::least_ns(const GateRequest& request, Nanos now) const {
  const Level ahead = ahead_of(request);
  EngagedWork work = ahead.endless;
  work.add(ahead.dated);
  // Without those that may be the batch that runs now.
  work.rows = std::max<int64_t>(work.rows - options_.batch.batch_rows_max, 0);
  work.tokens = std::max<int64_t>(work.tokens - options_.batch.batch_tokens_max, 0);
  work.add({request.row_count, request.token_count});
  const double least = kShareSure * cost_.work_ns(work.rows, work.tokens);
  if (ahead.endless.rows > 0) return least;
  // Whatever is not over by its own deadline is dropped, and then it is this one's turn.
  const auto wait_most = static_cast<double>(std::max<Nanos>(ahead.latest - now, 0));
  return std::min(least,
                  wait_most + kShareSure * cost_.work_ns(request.row_count, request.token_count));
}

}  // namespace pelton
