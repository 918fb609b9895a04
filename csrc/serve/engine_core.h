// What an engine's submitters and its worker share. Internal to csrc/serve.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "csrc/base/batch_view.h"
#include "csrc/base/clock.h"
#include "csrc/concurrency/counters.h"
#include "csrc/concurrency/event_count.h"
#include "csrc/concurrency/gate.h"
#include "csrc/concurrency/index_stack.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "csrc/concurrency/sleeper.h"
#include "csrc/serve/batch_time_estimate.h"
#include "csrc/serve/engine.h"
#include "csrc/serve/pending_set.h"
#include "csrc/serve/slot_state.h"

namespace pelton {

// A loaded model. Made by add_model, destroyed by remove_model when its entry's gate is deserted.
struct Model {
  Model(std::shared_ptr<Runner> its_runner, const ModelLimits& its_limits, PendingPool& pool)
      : runner(std::move(its_runner)), limits(its_limits), pending(pool) {}

  const std::shared_ptr<Runner> runner;
  const ModelLimits limits;

  // Rows that are accepted and in no batch yet; at most limits.queue_rows_max. Relaxed: a budget,
  // it orders nothing.
  std::atomic<int64_t> queued_rows{0};

  // The first kOutcomeCount counters are the outcomes.
  static constexpr size_t kBatches = kOutcomeCount;
  static constexpr size_t kRows = kOutcomeCount + 1;
  static constexpr size_t kTokens = kOutcomeCount + 2;
  static constexpr size_t kRequestsExecuteNs = kOutcomeCount + 3;
  Counters<kOutcomeCount + 4> counters;
  Histogram queue_ns;  // the histograms are written by the worker
  Histogram execute_ns;
  Histogram batch_rows;
  Histogram batch_tokens;
  BatchSizeTable batch_sizes;            // likewise
  std::atomic<Nanos> last_execution{0};  // likewise; relaxed: a figure, it orders nothing

  void count(Outcome outcome) { counters.add(static_cast<size_t>(outcome), 1); }
  // False: not within queue_rows_max.
  bool reserve_rows(int64_t row_count) {
    int64_t queued = queued_rows.load(std::memory_order_relaxed);
    do {
      if (row_count > limits.queue_rows_max - queued) return false;
    } while (
        !queued_rows.compare_exchange_weak(queued, queued + row_count, std::memory_order_relaxed));
    return true;
  }
  void release_rows(int64_t row_count) {
    queued_rows.fetch_sub(row_count, std::memory_order_relaxed);
  }

  // The worker's own.
  PendingSet pending;
  BatchTimeEstimate core_time;  // of batches: their time times their threads
  double served_ns = 0;         // see FairShare
  uint64_t batch_number = 0;
  int threads_last = 1;  // of the last batch
};

// A place in the table of models. The gate counts the requests that are not over; `model` is there
// while it is open or somebody is inside.
struct ModelEntry {
  Gate gate;
  // 0: none. Relaxed: whoever entered the gate sees the value of that opening; others use it for
  // the text of an error.
  std::atomic<ModelId> id{0};
  std::unique_ptr<Model>
      model;                // written while the gate is deserted, under EngineCore::models_mutex
  uint32_t generation = 0;  // guarded by models_mutex
  bool is_being_removed = false;  // guarded by models_mutex

  // The rest is the worker's own.
  uint64_t over_count = 0;  // requests that are over but not flushed, and so still in the gate
  bool is_active = false;   // is in the worker's list
  ModelId long_id = 0;      // the model whose batches are known to be long, see kLongBatchNs
};

// A request from acceptance to completion. `state` is shared; the rest is written by the submitter
// before the ticket is queued and read by the worker after that.
struct alignas(kCacheLineBytes) RequestSlot {
  SlotState state;
  uint32_t generation = 0;
  ModelEntry* entry = nullptr;
  CompletionSink* sink = nullptr;
  void* user = nullptr;
  RequestView request;
  int level = kLevelDefault;
  Nanos deadline = kNoDeadline;
  Nanos arrival = 0;
};

inline Ticket make_ticket(uint32_t generation, uint32_t slot) {
  return Ticket{generation} << 32 | slot;
}
inline uint32_t generation_of_ticket(Ticket ticket) { return static_cast<uint32_t>(ticket >> 32); }
inline uint32_t slot_of_ticket(Ticket ticket) { return static_cast<uint32_t>(ticket); }

struct EngineCore {
  EngineCore(const Engine::Options& options, const Clock& its_clock)
      : clock(its_clock),
        slot_count(static_cast<uint32_t>(options.queue_requests_max)),
        model_count_max(static_cast<uint32_t>(options.models_max)),
        slots(new RequestSlot[slot_count]),
        free_slots(slot_count),
        arrivals(std::bit_ceil(std::max<size_t>(slot_count, 2))),
        cancel_hints(std::bit_ceil(std::max<size_t>(slot_count, 2))),
        entries(new ModelEntry[model_count_max]),
        pending_pool(slot_count),
        pauser(options.pauser) {}

  bool all_deserted() const {
    for (uint32_t i = 0; i < model_count_max; ++i) {
      if (!entries[i].gate.is_deserted()) return false;
    }
    return true;
  }

  const Clock& clock;
  const uint32_t slot_count;
  const uint32_t model_count_max;
  const std::unique_ptr<RequestSlot[]> slots;
  IndexStack free_slots;  // also the budget of `arrivals`
  MpmcRing<Ticket> arrivals;
  // Tickets of requests that were cancelled while queued, so that they complete at once and not
  // when their turn comes. When it is full the hint is dropped: their turn comes.
  MpmcRing<Ticket> cancel_hints;
  Sleeper work;  // the worker sleeps here: arrivals, hints, closing, a deserted gate
  // Held by whoever is the worker: the worker's thread while it is awake, a submitter that helps
  // while it sleeps. Guards the worker. Nobody waits for it but the worker's thread, and that for
  // one short batch at most.
  std::mutex role;

  const std::unique_ptr<ModelEntry[]> entries;
  std::mutex models_mutex;  // control plane only; opening and closing of gates
  // Models that take requests. Written under models_mutex. Relaxed: a stale value places one batch
  // otherwise.
  std::atomic<int> open_models{0};
  bool is_draining = false;  // guarded by models_mutex
  EventCount deserted;       // drain() and remove_model() sleep here

  // Set by close(). Release in close(), acquire in the worker.
  std::atomic<bool> is_closing{false};

  PendingPool pending_pool;  // the worker's
  Pauser* const pauser;

  void pause(const char* where) const {
    if (pauser != nullptr) pauser->pause(where);
  }
};

}  // namespace pelton
