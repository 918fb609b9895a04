#include "csrc/control/concurrency_gate.h"

namespace pelton {

GateDecision ConcurrencyGate::before(GateRequest& request, Nanos /*now*/) {
  const int64_t with_this = in_flight() + 1;
  if (concurrency_max_ > 0 && with_this > concurrency_max_) {
    Refusal refusal;
    refusal.kind = ProblemKind::kQueueFull;
    refusal.what = "the model is busy: its requests in flight with this one would be";
    refusal.limit_name = "concurrency_max";
    refusal.came = with_this;
    refusal.limit = concurrency_max_;
    // Somebody else is done when a batch like this one is.
    refusal.retry_after_ms = retry_after_ms(cost_.drain_ns(request.row_count, request.token_count));
    return GateDecision::reject(refusal);
  }
  in_flight_.store(with_this);
  return GateDecision::accept();
}

void ConcurrencyGate::after(const GateRequest& /*request*/, RequestEnd /*end*/, Nanos /*now*/) {
  in_flight_.add(-1);
}

}  // namespace pelton
