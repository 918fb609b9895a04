// ModelGates: the gates of one model in the order of the path, with what they learn and count.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "csrc/control/concurrency_gate.h"
#include "csrc/control/cost_model.h"
#include "csrc/control/deadline_gate.h"
#include "csrc/control/limits_gate.h"
#include "csrc/control/model_counters.h"
#include "csrc/control/queue_gate.h"
#include "csrc/control/request_gate.h"

namespace pelton {

// In the order in which they are asked.
enum class GateKind : uint8_t { kLimits, kConcurrency, kQueue, kDeadline };
inline constexpr size_t kGateCount = 4;
// "limits", "concurrency", "queue", "deadline".
std::string_view gate_name(GateKind gate);

struct ModelGatesSnapshot {
  int64_t in_flight = 0;                       // requests that passed and are not over
  int64_t queue_rows = 0;                      // of them
  std::array<uint64_t, kGateCount> refused{};  // by GateKind
  double batch_fixed_ns = 0;  // the cost model's line; 0 before it has seen a batch
  double batch_token_ns = 0;
};

// Thread-safe: snapshot() and counters().snapshot() from any thread, the rest from one at a time.
// None allocates.
class ModelGates {
 public:
  struct Options {
    int64_t body_bytes_max = int64_t{64} << 20;
    int64_t rows_max = std::numeric_limits<int64_t>::max();  // of one request
    int64_t concurrency_max = 0;                             // requests in flight; 0: any number
    int64_t queue_rows_max = 16'384;
    // Rows of one request that are with the engine at a time.
    int64_t request_rows_max = std::numeric_limits<int64_t>::max();
    CostModel::Options batch = {};
  };
  explicit ModelGates(const Options& options);
  ModelGates(const ModelGates&) = delete;
  ModelGates& operator=(const ModelGates&) = delete;

  // As GateChain says: accepted, or refused by the first gate that does.
  GateDecision before(GateRequest& request, Nanos now);
  // A batch with rows of the request, or of a part of it, has run. In the order in which batches
  // ended; once for each of the requests in it.
  void ran(GateRequest& request, const BatchRun& run);
  // Exactly once for each request that was accepted.
  void after(GateRequest& request, RequestEnd end, Nanos now) { chain_.after(request, end, now); }

  ModelCounters& counters() { return counters_; }
  const ModelCounters& counters() const { return counters_; }
  ModelGatesSnapshot snapshot() const;

 private:
  CostModel cost_;
  LimitsGate limits_;
  ConcurrencyGate concurrency_;
  QueueGate queue_;
  DeadlineGate deadline_;
  const std::array<RequestGate*, kGateCount> gates_;
  const GateChain chain_;
  Nanos last_started_ = 0;
  std::array<SingleWriter<uint64_t>, kGateCount> refused_;
  ModelCounters counters_;
};

}  // namespace pelton
