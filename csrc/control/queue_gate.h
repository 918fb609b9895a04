// QueueGate: the bounded queue of a model.
#pragma once

#include <limits>

#include "csrc/control/cost_model.h"
#include "csrc/control/engaged_work.h"
#include "csrc/control/request_gate.h"
#include "csrc/control/single_writer.h"

namespace pelton {

// Counts rows that were accepted and are not over, and refuses with kQueueFull, naming the time in
// which the queue drains. row_count() from any thread.
class QueueGate final : public RequestGate {
 public:
  struct Options {
    int64_t queue_rows_max = 16'384;
    // So many rows of one request are with the engine at a time: a larger one comes in pieces, and
    // takes no more of the queue.
    int64_t request_rows_max = std::numeric_limits<int64_t>::max();
  };
  // `cost` outlives the gate.
  QueueGate(const Options& options, const CostModel& cost) : options_(options), cost_(cost) {}

  GateDecision before(GateRequest& request, Nanos now) override;
  void after(const GateRequest& request, RequestEnd end, Nanos now) override;

  int64_t row_count() const { return row_count_.load(); }

 private:
  EngagedWork work_of(const GateRequest& request) const;

  const Options options_;
  const CostModel& cost_;
  SingleWriter<int64_t> row_count_;
  int64_t token_count_ = 0;
};

}  // namespace pelton
