#include "csrc/control/model_gates.h"

#include "csrc/base/check.h"

namespace pelton {

std::string_view gate_name(GateKind gate) {
  constexpr std::array<std::string_view, kGateCount> kNames = {"limits", "concurrency", "queue",
                                                               "deadline"};
  return kNames[static_cast<size_t>(gate)];
}

ModelGates::ModelGates(const Options& options)
    : cost_(options.batch),
      limits_({.body_bytes_max = options.body_bytes_max, .rows_max = options.rows_max}),
      concurrency_(options.concurrency_max, cost_),
      queue_(
          {.queue_rows_max = options.queue_rows_max, .request_rows_max = options.request_rows_max},
          cost_),
      deadline_({.batch = options.batch, .request_rows_max = options.request_rows_max}, cost_),
      gates_{&limits_, &concurrency_, &queue_, &deadline_},
      chain_(gates_) {
  PELTON_CHECK(options.queue_rows_max >= 1 && options.request_rows_max >= 1);
}

GateDecision ModelGates::before(GateRequest& request, Nanos now) {
  GateDecision decision = chain_.before(request, now);
  if (decision.kind == GateDecision::Kind::kReject) refused_[decision.gate].add(1);
  return decision;
}

// The requests of one batch come one after the other, each with the same times.
void ModelGates::ran(GateRequest& request, const BatchRun& run) {
  request.ran(run);
  if (run.started <= last_started_) return;
  last_started_ = run.started;
  cost_.learn(run);
  counters_.executed(run);
}

ModelGatesSnapshot ModelGates::snapshot() const {
  ModelGatesSnapshot result;
  result.in_flight = concurrency_.in_flight();
  result.queue_rows = queue_.row_count();
  for (size_t gate = 0; gate < kGateCount; ++gate) result.refused[gate] = refused_[gate].load();
  result.batch_fixed_ns = cost_.fixed_ns();
  result.batch_token_ns = cost_.token_ns();
  return result;
}

}  // namespace pelton
