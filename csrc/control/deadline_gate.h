// DeadlineGate: refuses at once what would expire in the queue.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "csrc/control/cost_model.h"
#include "csrc/control/engaged_work.h"
#include "csrc/control/request_gate.h"

namespace pelton {

// Refuses with kDeadlineExceeded where even kShareSure of the least time in which the work before
// the request and its own can be done ends behind its deadline. Only what is sure to run before it
// counts: requests of more urgent levels, and those of its own level whose deadlines are all not
// behind its own; without the batch that may be running, which may be about to end. (The engine
// orders by level, then deadline, then arrival.) So a request that could be answered in time is
// practically never refused; one that is let in and cannot be expires in the engine before it runs.
//
// It refuses nothing before the cost model is ready, nor where nothing is in flight and nothing
// was learned for kStaleNs: without that probe a model that was slow once would be believed slow
// for ever.
class DeadlineGate final : public RequestGate {
 public:
  static constexpr double kShareSure = 0.5;
  static constexpr Nanos kStaleNs = 1'000'000'000;

  struct Options {
    CostModel::Options batch = {};
    // Rows of one request that are with the engine at a time. At least 1.
    int64_t request_rows_max = std::numeric_limits<int64_t>::max();
  };
  // `cost` outlives the gate.
  DeadlineGate(const Options& options, const CostModel& cost) : options_(options), cost_(cost) {}

  GateDecision before(GateRequest& request, Nanos now) override;
  void after(const GateRequest& request, RequestEnd end, Nanos now) override;

 private:
  static constexpr size_t kLevels = 4;
  // Work that was accepted and is not over.
  struct Level {
    EngagedWork endless;  // without a deadline
    EngagedWork dated;
    int64_t dated_requests = 0;
    Nanos latest = 0;  // not before any deadline of `dated`; 0 where there is none
  };

  static size_t level_of(const GateRequest& request);
  // What is sure to run before the request.
  Level ahead_of(const GateRequest& request) const;
  // How long the request takes from `now` at the least.
  double least_ns(const GateRequest& request, Nanos now) const;
  bool is_trusted(Nanos now) const;

  const Options options_;
  const CostModel& cost_;
  std::array<Level, kLevels> levels_;
  int64_t in_flight_ = 0;
};

}  // namespace pelton
