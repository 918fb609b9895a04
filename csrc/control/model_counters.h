// ModelCounters: what the request path counts of one model: how requests ended, how long the phases
// outside the engine took, the sums behind the statistics of the Open Inference Protocol.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "csrc/base/problem.h"
#include "csrc/concurrency/counters.h"
#include "csrc/control/request_gate.h"
#include "csrc/control/single_writer.h"

namespace pelton {

inline constexpr size_t kProblemKindCount = static_cast<size_t>(ProblemKind::kLast) + 1;

// What an answered request took beside its batches, which are in its GateRequest.
struct AnswerCosts {
  Nanos decode_ns = 0;
  Nanos encode_ns = 0;
  Nanos total_ns = 0;  // from its arrival to its answer
  int64_t body_bytes = 0;
};

// Events of one kind, and the time that they took together.
struct CountedTime {
  uint64_t count = 0;
  uint64_t ns = 0;
};

struct ModelCountersSnapshot {
  uint64_t ok = 0;
  std::array<uint64_t, kProblemKindCount> problems{};  // by ProblemKind
  HistogramSnapshot decode_ns;
  HistogramSnapshot encode_ns;
  uint64_t bytes_in = 0;   // bodies of requests that could be decoded
  uint64_t bytes_out = 0;  // bodies of their answers

  // As the protocol's statistics name them. The four phases are of requests that succeeded.
  CountedTime success;
  CountedTime fail;
  CountedTime queue;
  CountedTime compute_input;
  CountedTime compute_infer;
  CountedTime compute_output;
  CountedTime cache_hit;
  CountedTime cache_miss;
  uint64_t inference_count = 0;  // rows that succeeded
  uint64_t execution_count = 0;  // batches with rows of this path
  Nanos last_inference = 0;      // when the last of them ended, by the engine's clock; 0: none
};

// Thread-safe: snapshot() from any thread, the rest from one at a time. None allocates. Every
// request ends with one count_ok() or one count().
class ModelCounters {
 public:
  ModelCounters() = default;
  ModelCounters(const ModelCounters&) = delete;
  ModelCounters& operator=(const ModelCounters&) = delete;

  // A request was read and fits the model.
  void decoded(Nanos decode_ns, int64_t body_bytes) {
    decode_ns_.record(clamped(decode_ns));
    add(kBytesIn, body_bytes);
  }
  // A batch with rows of this path has run.
  void executed(const BatchRun& run) {
    add(kExecutions, 1);
    last_inference_.store(run.ended);
  }
  void count_ok(const GateRequest& request, const AnswerCosts& costs) {
    encode_ns_.record(clamped(costs.encode_ns));
    add(kOk, 1);
    add(kRows, request.row_count);
    add(kBytesOut, costs.body_bytes);
    add(kSuccessNs, costs.total_ns);
    add(kQueueNs, request.queue_ns);
    add(kInputNs, costs.decode_ns);
    add(kInferNs, request.run_ns);
    add(kOutputNs, costs.encode_ns);
  }
  // `total_ns`: from its arrival to its answer.
  void count(ProblemKind kind, Nanos total_ns) {
    problems_[static_cast<size_t>(kind)].add(1);
    add(kFailNs, total_ns);
  }

  ModelCountersSnapshot snapshot() const;

 private:
  enum Sum : size_t {
    kOk,
    kRows,
    kBytesIn,
    kBytesOut,
    kSuccessNs,
    kFailNs,
    kQueueNs,
    kInputNs,
    kInferNs,
    kOutputNs,
    kExecutions,
    kSumCount,
  };
  // Times are differences of two clocks' readings: never less than nothing.
  static uint64_t clamped(int64_t amount) { return amount < 0 ? 0 : static_cast<uint64_t>(amount); }
  void add(Sum sum, int64_t amount) { sums_[sum].add(clamped(amount)); }
  uint64_t sum(Sum sum) const { return sums_[sum].load(); }

  alignas(kInterferenceBytes) std::array<SingleWriter<uint64_t>, kSumCount> sums_;
  std::array<SingleWriter<uint64_t>, kProblemKindCount> problems_;
  SingleWriter<Nanos> last_inference_;
  Histogram decode_ns_;
  Histogram encode_ns_;
};

}  // namespace pelton
