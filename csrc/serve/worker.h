// Worker: the one consumer of an engine's queue. Forms batches, runs them, completes requests.
// Internal to csrc/serve.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/serve/engine_core.h"
#include "csrc/serve/pick_batch.h"

namespace pelton {

// What a completion says of the batch that its request ran in.
struct Execution {
  Nanos started = 0;
  Nanos ended = 0;
  int64_t row_count = 0;
  int64_t token_count = 0;
};

// Not thread-safe: run() is the thread.
class Worker {
 public:
  // Spins for spin_ns_max before it sleeps. The core must outlive the worker.
  Worker(EngineCore& core, int64_t spin_ns_max);
  // Returns when the engine is closing and every accepted request is over. Allocates nothing but
  // the texts of failures.
  void run();

 private:
  // Each returns whether there was any.
  bool take_arrivals();
  bool take_cancel_hints();
  void expire(Nanos now);
  void fail_pending();

  // False: nothing to run now; then wake_at_ says when there may be, as far as that is known.
  bool run_a_batch(Nanos now);
  // Leaves the batch of the chosen model in picked_; nullptr: none.
  ModelEntry* choose_batch(Nanos now);
  ModelEntry* entry_with_oldest() const;
  BatchPick pick_from(const ModelEntry& entry, Nanos now, bool oldest_first,
                      std::vector<uint32_t>& slots);
  void claim_picked(ModelEntry& entry);
  void execute(ModelEntry& entry);

  // Takes a request out of its pending set and completes it without running it.
  void drop(uint32_t index, Outcome outcome, Status status);
  // Ends a claimed or cancelled request: gives its slot back and pushes its completion.
  void complete(uint32_t index, Outcome outcome, Status status, const Execution& execution = {});
  // Announces the completions pushed since the last time; only then the requests leave their gates.
  void flush();
  void flush_sinks();
  void activate(ModelEntry& entry);
  void sleep(bool was_closing);
  bool must_stay_awake(bool was_closing);

  EngineCore& core_;
  const int64_t spin_ns_max_;
  uint64_t arrival_number_ = 0;
  uint64_t batch_number_ = 0;
  Nanos wake_at_ = kNoDeadline;  // when the next held-back batch is due

  // Of fixed capacity from the start.
  std::vector<ModelEntry*> active_;  // the models with pending requests or with an over_count
  std::vector<uint32_t> picked_;     // slots of the batch being formed
  std::vector<uint32_t> candidate_;  // those of the batch that it is compared to
  std::vector<const RequestView*> requests_;
  std::vector<CompletionSink*> pushed_;  // one for each completion since the last flush
};

}  // namespace pelton
