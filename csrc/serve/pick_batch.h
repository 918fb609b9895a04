// Batch formation as a pure function: which requests of one model run together now, or until when
// to wait for more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "csrc/base/clock.h"
#include "csrc/serve/pending_set.h"

namespace pelton {

// How long a batch is expected to run, linear in its tokens.
struct BatchTime {
  double fixed_ns = 0;
  double token_ns = 0;
  Nanos of(int64_t token_count) const {
    return static_cast<Nanos>(fixed_ns + token_ns * static_cast<double>(token_count));
  }
};

struct BatchRules {
  int64_t rows_max = 32;
  int64_t tokens_max = 16'384;
  Nanos wait_max = 0;  // how long the oldest request may be held back for a fuller batch; 0: never
  BatchTime predicted = {};   // used with wait_max only
  bool oldest_first = false;  // head the batch by the oldest request: see kOldestFirstPeriod
};

struct BatchPick {
  size_t count = 0;  // slots written to `slots`; 0: nothing runs now
  Nanos wait_until =
      kNoDeadline;  // when count is 0: look again then, or earlier when something arrives
  int64_t row_count = 0;
  int64_t token_count = 0;
};

// Every kOldestFirstPeriod-th batch of a model is headed by its oldest pending request, whatever
// the levels and deadlines of the others; and once in so many batches of an engine the model with
// the oldest one comes first. So no request starves, of any level: one with n older ones of its
// model before it runs in the model's (n + 1) * kOldestFirstPeriod-th batch at the latest. This is
// the whole of the ageing.
inline constexpr uint64_t kOldestFirstPeriod = 8;
// A request that does not fit into what is left of a batch is passed over in favour of later ones
// that do; after so many the batch is closed. The first of them heads the next batch unless
// something more urgent arrives.
inline constexpr int kPassedOverMax = 16;

// Requests whose deadline is not after `now` are left out. The head of the batch is the first
// request of `pending`, or the oldest of all (unless that one is left out); the rest is filled up
// in the order of `pending` while both budgets last. A head that is over a budget by itself is a
// batch of its own. A batch is held back only if wait_max > 0, a budget is left and nothing was
// passed over: until min(oldest arrival + wait_max, earliest deadline - predicted time). Pure.
// REQUIRES: slots.size() >= min(pending.size(), max(rows_max, 1)), every row_count >= 1.
BatchPick pick_batch(const PendingSet& pending, const BatchRules& rules, Nanos now,
                     std::span<uint32_t> slots);

}  // namespace pelton
