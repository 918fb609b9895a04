// Worker: the one consumer of an engine's queue. Forms batches, runs them or has the team's back
// lane run them, completes requests. Internal to csrc/serve.
#pragma once

#include <cstdint>
#include <vector>

#include "csrc/concurrency/give_way.h"
#include "csrc/serve/engine_core.h"
#include "csrc/serve/flight.h"
#include "csrc/serve/pick_batch.h"
#include "csrc/serve/schedule.h"

namespace pelton {

// Not thread-safe: everything is done by the holder of EngineCore::role, which run() takes and
// gives up while it sleeps.
class Worker {
 public:
  // Spins for spin_ns_max before it sleeps. The core and the team must outlive the worker.
  Worker(EngineCore& core, Team& team, int64_t spin_ns_max);
  // Returns when the engine is closing and every accepted request is over. Allocates nothing but
  // the texts of failures.
  void run();
  // Runs what waits on the calling thread, as far as it is expected to fit into budget_ns. True:
  // nothing is left for the thread of run(). REQUIRES: the caller holds EngineCore::role, and the
  // thread of run() sleeps or waits for it.
  bool help(Nanos budget_ns);

 private:
  // A batch that can start now; its requests are in candidate_. entry is nullptr: there is none.
  struct Choice {
    ModelEntry* entry = nullptr;
    BatchPick pick;
    BatchOutlook outlook;
    Placement placement;
    bool others_loaded = false;
    bool is_aged_turn = false;
  };

  // worker.cc: arrivals, endings, sleep.
  // Each returns whether there was any.
  bool take_arrivals();
  bool take_cancel_hints();
  void expire(Nanos now);
  void fail_pending();
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

  // worker_batches.cc: from pending requests to batches that ran.
  // False: nothing to start now; then wake_at_ says when there may be, as far as that is known.
  bool start_a_batch(Nanos now);
  Choice choose(Nanos now);
  // Fills contenders_: the models that have requests and no batch in flight, in the order in which
  // they are asked.
  void line_up();
  bool is_running(const Runner& runner) const;
  Choice consider(ModelEntry& entry, Nanos now, bool is_aged_turn);
  BatchPick pick_from(const ModelEntry& entry, Nanos now, bool oldest_first);
  // That a batch is worth.
  int threads_of(const Model& model, int64_t row_count, int64_t token_count) const;
  BatchOutlook outlook_of(const Model& model, const BatchPick& pick) const;
  TeamUse team_use(const ModelEntry& entry) const;
  bool short_others_loaded(const ModelEntry& entry) const;
  void start(Flight& flight, const Choice& choice);
  void claim(ModelEntry& entry, Flight& flight);
  // Charges the flight's model core_ns in place of what it was charged before.
  void charge(Flight& flight, double core_ns);
  void finish(Flight& flight);
  void record(Flight& flight);
  static void run_back(void* self);
  bool back_is_done() const {
    return !back_.is_idle() && back_.is_done.load(std::memory_order_acquire);
  }
  // Finishes the back lane's batch, if it is done.
  bool collect_back();
  void yield();

  EngineCore& core_;
  Team& team_;
  const int64_t spin_ns_max_;
  uint64_t arrival_number_ = 0;
  uint64_t batch_number_ = 0;
  Nanos now_ = 0;                // the clock as last read
  Nanos wake_at_ = kNoDeadline;  // when the next held-back batch is due
  FairShare share_;
  bool aged_turn_is_due_ = false;  // the model with the oldest request is to be asked first
  bool back_is_promised_ = false;
  bool may_start_more_ = false;  // in a hook: something changed since nothing could be started

  // Of fixed capacity from the start.
  std::vector<ModelEntry*> active_;  // the models with pending requests or with an over_count
  std::vector<ModelEntry*> contenders_;
  std::vector<ModelEntry*> by_age_;
  std::vector<uint32_t> candidate_;      // slots of the batch being formed
  std::vector<CompletionSink*> pushed_;  // one for each completion since the last flush
  Flight front_;
  Flight nested_;
  Flight back_;
  GiveWay back_gives_way_;  // the lane's thread's, while a long batch runs there
};

}  // namespace pelton
