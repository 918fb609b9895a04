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
  enter(request, now);
  return GateDecision::accept();
}

void DeadlineGate::enter(GateRequest& request, Nanos now) {
  ++in_flight_;
  Level& level = levels_[level_of(request)];
  ++level.requests;
  const EngagedWork work = engaged_work(request, options_.request_rows_max);
  if (request.deadline == kNoDeadline) return level.endless.add(work);
  request.deadline_bucket = level.dated.add(work, request.deadline, now);
}

void DeadlineGate::after(const GateRequest& request, RequestEnd /*end*/, Nanos /*now*/) {
  --in_flight_;
  Level& level = levels_[level_of(request)];
  --level.requests;
  const EngagedWork work = engaged_work(request, options_.request_rows_max);
  if (request.deadline == kNoDeadline) return level.endless.subtract(work);
  level.dated.remove(work, request.deadline_bucket);
}

bool DeadlineGate::is_trusted(Nanos now) const {
  return cost_.is_ready() && (in_flight_ > 0 || now - cost_.last_ended() < kStaleNs);
}

double DeadlineGate::least_ns(const GateRequest& request, Nanos now) const {
  // What runs now is at most this, and may be about to end.
  EngagedWork running = {options_.batch.batch_rows_max, options_.batch.batch_tokens_max};
  const double share = kMargin * cost_.sure_share();
  double wait = 0;
  const auto wait_for = [&](EngagedWork work, double most) {
    running.take_from(work);
    wait = std::min(wait + share * cost_.share_ns(work.rows, work.tokens), std::max(wait, most));
  };
  const size_t own = level_of(request);
  for (size_t i = 0; i <= own; ++i) {
    const Level& level = levels_[i];
    if (level.requests == 0) continue;
    // Whatever is not over by its own deadline is dropped.
    level.dated.visit_until(i < own ? kNoDeadline : request.deadline, now,
                            [&](const EngagedWork& work, Nanos latest) {
                              wait_for(work, static_cast<double>(latest - now));
                            });
    if (i < own) wait_for(level.endless, std::numeric_limits<double>::infinity());
  }
  const int64_t rows = request.row_count;
  const int64_t tokens = request.token_count;
  return std::max(wait + share * cost_.share_ns(rows, tokens), share * cost_.work_ns(rows, tokens));
}

}  // namespace pelton
