// What the engine counts per model, under the names of the metrics that show it
// (pelton_requests_total, pelton_request_seconds, pelton_batch_rows, pelton_batch_tokens,
// pelton_queue_rows).
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "csrc/base/clock.h"
#include "csrc/concurrency/counters.h"

namespace pelton {

// The label `outcome` of requests_total. A submission to a model that takes requests is counted
// once: when it is refused (kRejected, or kExpired for a deadline already past), otherwise when its
// completion is made.
enum class Outcome : uint8_t { kOk, kError, kCancelled, kExpired, kRejected };
inline constexpr size_t kOutcomeCount = 5;
// "ok", "error", "cancelled", "expired", "rejected".
std::string_view outcome_name(Outcome outcome);

// The batches that had so many rows.
struct BatchSizeStats {
  int64_t row_count = 0;  // 0: all sizes for which the table had no place
  uint64_t batches = 0;
  uint64_t execute_ns = 0;  // of them together
};

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
  // The time of each batch counted once for every request in it: what the requests spent executing.
  uint64_t requests_execute_ns = 0;
  Nanos last_execution = 0;  // when the last batch ended, by the engine's clock; 0: none did
  std::vector<BatchSizeStats> batch_sizes;  // ascending by row_count, those that occurred

  uint64_t requests_of(Outcome outcome) const { return requests[static_cast<size_t>(outcome)]; }
};

// Counts batches by their rows: the first kSizesMax sizes that occur, the rest together. One writer
// at a time; snapshot() from any thread.
class BatchSizeTable {
 public:
  static constexpr size_t kSizesMax = 128;

  // REQUIRES: row_count >= 1.
  void record(int64_t row_count, uint64_t execute_ns);
  std::vector<BatchSizeStats> snapshot() const;

 private:
  struct Cell {
    std::atomic<int64_t> row_count{0};  // 0: free; set once. Relaxed: the counts start at 0.
    std::atomic<uint64_t> batches{0};
    std::atomic<uint64_t> execute_ns{0};
  };
  static void count(Cell& cell, uint64_t execute_ns);

  std::array<Cell, kSizesMax> cells_;  // open addressing
  Cell others_;
};

}  // namespace pelton
