// ConcurrencyGate: how many requests of a model may be under way.
#pragma once

#include "csrc/control/cost_model.h"
#include "csrc/control/request_gate.h"
#include "csrc/control/single_writer.h"

namespace pelton {

// Refuses with kQueueFull. in_flight() from any thread.
class ConcurrencyGate final : public RequestGate {
 public:
  // `concurrency_max`: 0 is none. `cost` outlives the gate.
  ConcurrencyGate(int64_t concurrency_max, const CostModel& cost)
      : concurrency_max_(concurrency_max), cost_(cost) {}

  GateDecision before(GateRequest& request, Nanos now) override;
  void after(const GateRequest& request, RequestEnd end, Nanos now) override;

  int64_t in_flight() const { return in_flight_.load(); }

 private:
  const int64_t concurrency_max_;
  const CostModel& cost_;
  SingleWriter<int64_t> in_flight_;
};

}  // namespace pelton
