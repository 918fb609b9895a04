// DeadlineGate: refuses at once what would expire in the queue.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "csrc/control/cost_model.h"
#include "csrc/control/dated_work.h"
#include "csrc/control/engaged_work.h"
#include "csrc/control/request_gate.h"

namespace pelton {

// Refuses with kDeadlineExceeded where even kMargin of the least time that the work before the
// request and its own can take ends behind its deadline. Only what is sure to run before it counts:
// requests of more urgent levels, and those of its own level that are due before it; less a batch,
// which may be running and about to end; and of what is due at some time no more than can be done
// until then, because the engine drops the late. (The engine orders by level, then deadline, then
// arrival.) So a request that could be answered in time is practically never refused; one that is
// let in and cannot be expires in the engine before it runs.
//
// It refuses nothing before the cost model is ready, nor where nothing is in flight and nothing
// was learned for kStaleNs: without that probe a model that was slow once would be believed slow
// for ever.
class DeadlineGate final : public RequestGate {
 public:
  static constexpr double kMargin = 0.9;
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
    DatedWork dated;
    int64_t requests = 0;
  };

  static size_t level_of(const GateRequest& request);
  // How long the request takes from `now` at the least.
  double least_ns(const GateRequest& request, Nanos now) const;
  bool is_trusted(Nanos now) const;
  void enter(GateRequest& request, Nanos now);

  const Options options_;
  const CostModel& cost_;
  std::array<Level, kLevels> levels_;
  int64_t in_flight_ = 0;
};

}  // namespace pelton
