#include "csrc/control/queue_gate.h"

#include <algorithm>

namespace pelton {

// A request that is larger than the whole queue waits for it to be empty.
EngagedWork QueueGate::work_of(const GateRequest& request) const {
  return engaged_work(request, std::min(options_.request_rows_max, options_.queue_rows_max));
}

GateDecision QueueGate::before(GateRequest& request, Nanos /*now*/) {
  const EngagedWork work = work_of(request);
  const int64_t with_this = row_count() + work.rows;
  if (with_this > options_.queue_rows_max) {
    Refusal refusal;
    refusal.kind = ProblemKind::kQueueFull;
    refusal.what = "the model's queue is full: its rows with this request's would be";
    refusal.limit_name = "queue_rows_max";
    refusal.came = with_this;
    refusal.limit = options_.queue_rows_max;
    refusal.retry_after_ms = retry_after_ms(cost_.drain_ns(row_count(), token_count_));
    return GateDecision::reject(refusal);
  }
  row_count_.store(with_this);
  token_count_ += work.tokens;
  return GateDecision::accept();
}

void QueueGate::after(const GateRequest& request, RequestEnd /*end*/, Nanos /*now*/) {
  const EngagedWork work = work_of(request);
  row_count_.add(-work.rows);
  token_count_ -= work.tokens;
}

}  // namespace pelton
