// What the engine counts per model, under the names of the metrics that show it
// (pelton_requests_total, pelton_request_seconds, pelton_batch_rows, pelton_batch_tokens,
// pelton_queue_rows).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "csrc/concurrency/counters.h"

namespace pelton {

// The label `outcome` of requests_total. A submission to a model that takes requests is counted
// once: when it is refused (kRejected, or kExpired for a deadline already past), otherwise when its
// completion is made.
enum class Outcome : uint8_t { kOk, kError, kCancelled, kExpired, kRejected };
inline constexpr size_t kOutcomeCount = 5;
// "ok", "error", "cancelled", "expired", "rejected".
std::string_view outcome_name(Outcome outcome);

struct ModelStats {
  std::array<uint64_t, kOutcomeCount> requests{};  // by Outcome
  uint64_t batches = 0;                            // that ran
  uint64_t rows = 0;                               // in them
  uint64_t tokens = 0;
  int64_t queue_rows = 0;  // accepted and not yet in a batch, now
  // Values in nanoseconds.
  HistogramSnapshot queue_ns;    // from acceptance to the start of the batch; requests that ran
  HistogramSnapshot execute_ns;  // of each batch
  HistogramSnapshot batch_rows;
  HistogramSnapshot batch_tokens;

  uint64_t requests_of(Outcome outcome) const { return requests[static_cast<size_t>(outcome)]; }
};

}  // namespace pelton
