#include "csrc/serve/worker.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "csrc/base/check.h"

namespace pelton {
namespace {

uint64_t duration(Nanos from, Nanos to) {
  return static_cast<uint64_t>(std::max<Nanos>(to - from, 0));
}

int32_t saturated(int64_t count) {
  return static_cast<int32_t>(std::min<int64_t>(count, std::numeric_limits<int32_t>::max()));
}

// The time that a batch must be expected to need when it is held back towards a deadline: half as
// long again as the batches before it, and what a wake-up takes on a busy machine. Held to the last
// moment it would often be too late.
BatchTime with_margin(const BatchTime& estimate) {
  constexpr double kFactor = 1.5;
  constexpr double kWakeNs = 2e6;
  return {.fixed_ns = kFactor * estimate.fixed_ns + kWakeNs,
          .token_ns = kFactor * estimate.token_ns};
}

Status cancelled() { return Status(StatusCode::kCancelled, "the request was cancelled"); }
Status expired() {
  return Status(StatusCode::kDeadlineExceeded, "the deadline passed before the request ran");
}
Status closed() {
  return Status(StatusCode::kUnavailable, "the engine was closed before the request ran");
}

}  // namespace

Worker::Worker(EngineCore& core, int64_t spin_ns_max) : core_(core), spin_ns_max_(spin_ns_max) {
  active_.reserve(core.model_count_max);
  picked_.reserve(core.slot_count);
  candidate_.reserve(core.slot_count);
  requests_.reserve(core.slot_count);
  // Between two flushes all that is pending can be over, and all that two calls of take_arrivals()
  // take.
  pushed_.reserve(3 * size_t{core.slot_count});
}

void Worker::run() {
  for (;;) {
    // Read before the arrivals are taken: what close() found accepted is then among them or still
    // inside a gate.
    const bool closing = core_.is_closing.load(std::memory_order_acquire);
    take_arrivals();
    take_cancel_hints();
    const Nanos now = core_.clock.now();
    if (closing) {
      fail_pending();
    } else {
      expire(now);
    }
    flush();  // before a batch: these need not wait for it
    if (run_a_batch(now)) continue;
    if (closing && core_.all_deserted()) return;
    sleep(closing);
  }
}

bool Worker::take_arrivals() {
  std::array<Ticket, 64> tickets;
  size_t total = 0;
  // Bounded, so that a flood of arrivals cannot keep the worker from its batches.
  while (total < core_.slot_count) {
    const size_t count =
        core_.arrivals.pop_many(tickets.data(), std::min(tickets.size(), core_.slot_count - total));
    if (count == 0) break;
    total += count;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t index = slot_of_ticket(tickets[i]);
      const RequestSlot& slot = core_.slots[index];
      activate(*slot.entry);
      slot.entry->model->pending.insert({.level = slot.level,
                                         .deadline = slot.deadline,
                                         .arrival_number = arrival_number_++,
                                         .arrival = slot.arrival,
                                         .slot = index,
                                         .row_count = slot.request.row_count,
                                         .token_count = slot.request.token_count});
      // Its hint may have come and gone before it.
      if (slot.state.is_cancelled(slot.generation)) drop(index, Outcome::kCancelled, Status());
    }
  }
  return total > 0;
}

bool Worker::take_cancel_hints() {
  std::array<Ticket, 64> tickets;
  size_t total = 0;
  while (total < core_.slot_count) {
    const size_t count = core_.cancel_hints.pop_many(tickets.data(), tickets.size());
    if (count == 0) break;
    total += count;
    for (size_t i = 0; i < count; ++i) {
      const uint32_t index = slot_of_ticket(tickets[i]);
      const RequestSlot& slot = core_.slots[index];
      // Otherwise it is over, and the slot may be another request's; or it has not arrived yet.
      if (slot.state.is_cancelled(generation_of_ticket(tickets[i])) &&
          core_.pending_pool.contains(index)) {
        drop(index, Outcome::kCancelled, Status());
      }
    }
  }
  return total > 0;
}

void Worker::expire(Nanos now) {
  for (ModelEntry* entry : active_) {
    const PendingSet& pending = entry->model->pending;
    for (auto request = pending.expired(now); request != pending.end();
         request = pending.expired(now)) {
      drop(request->slot, Outcome::kExpired, expired());
    }
  }
}

void Worker::fail_pending() {
  for (ModelEntry* entry : active_) {
    const PendingSet& pending = entry->model->pending;
    while (!pending.empty()) drop(pending.begin()->slot, Outcome::kError, closed());
  }
}

bool Worker::run_a_batch(Nanos now) {
  ModelEntry* entry = choose_batch(now);
  if (entry == nullptr) return false;
  ++batch_number_;
  claim_picked(*entry);
  if (!requests_.empty()) execute(*entry);
  flush();
  return true;
}

ModelEntry* Worker::choose_batch(Nanos now) {
  wake_at_ = kNoDeadline;
  const bool oldest_first = batch_number_ % kOldestFirstPeriod == kOldestFirstPeriod - 1;
  if (oldest_first) {
    ModelEntry* entry = entry_with_oldest();
    if (entry != nullptr && pick_from(*entry, now, true, picked_).count > 0) return entry;
  }
  ModelEntry* chosen = nullptr;
  for (ModelEntry* entry : active_) {
    const PendingSet& pending = entry->model->pending;
    if (pending.empty()) continue;
    if (chosen != nullptr && !MoreUrgent()(*pending.begin(), *chosen->model->pending.begin())) {
      continue;
    }
    const BatchPick pick = pick_from(*entry, now, false, candidate_);
    wake_at_ = std::min(wake_at_, pick.wait_until);
    if (pick.count == 0) continue;
    chosen = entry;
    std::swap(picked_, candidate_);
  }
  return chosen;
}

ModelEntry* Worker::entry_with_oldest() const {
  ModelEntry* oldest = nullptr;
  for (ModelEntry* entry : active_) {
    if (entry->model->pending.empty()) continue;
    if (oldest == nullptr || entry->model->pending.oldest().arrival_number <
                                 oldest->model->pending.oldest().arrival_number) {
      oldest = entry;
    }
  }
  return oldest;
}

BatchPick Worker::pick_from(const ModelEntry& entry, Nanos now, bool oldest_first,
                            std::vector<uint32_t>& slots) {
  const Model& model = *entry.model;
  // Nobody is coming any more: a batch that is held back would only be late.
  const bool may_wait = !entry.gate.is_closed();
  const BatchRules rules{.rows_max = model.limits.batch_rows_max,
                         .tokens_max = model.limits.batch_tokens_max,
                         .wait_max = may_wait ? model.limits.batch_wait_us_max * 1000 : 0,
                         .predicted = with_margin(model.time_estimate.estimate()),
                         .oldest_first = oldest_first};
  // Within its capacity. Every request has a row at least.
  slots.resize(std::min(model.pending.size(), static_cast<size_t>(rules.rows_max)));
  const BatchPick pick = pick_batch(model.pending, rules, now, slots);
  slots.resize(pick.count);
  return pick;
}

// Moves the picked requests from pending to claimed; those that were cancelled meanwhile are
// completed and left out.
void Worker::claim_picked(ModelEntry& entry) {
  requests_.clear();
  size_t claimed = 0;
  for (const uint32_t index : picked_) {
    RequestSlot& slot = core_.slots[index];
    entry.model->pending.erase(index);
    entry.model->release_rows(slot.request.row_count);
    if (slot.state.claim(slot.generation)) {
      requests_.push_back(&slot.request);
      picked_[claimed++] = index;
    } else {
      complete(index, Outcome::kCancelled, Status());
    }
  }
  picked_.resize(claimed);
}

void Worker::execute(ModelEntry& entry) {
  Model& model = *entry.model;
  BatchView batch{.requests = requests_};
  Nanos latest_deadline = std::numeric_limits<Nanos>::min();
  for (const uint32_t index : picked_) {
    const RequestSlot& slot = core_.slots[index];
    batch.row_count += slot.request.row_count;
    batch.token_count += slot.request.token_count;
    latest_deadline = std::max(latest_deadline, slot.deadline);
  }
  Execution execution{.row_count = batch.row_count, .token_count = batch.token_count};
  execution.started = core_.clock.now();
  const Status status = model.runner->run(batch, latest_deadline);
  execution.ended = core_.clock.now();
  const uint64_t run_ns = duration(execution.started, execution.ended);

  model.time_estimate.add(batch.token_count, static_cast<Nanos>(run_ns));
  model.counters.add(Model::kBatches, 1);
  model.counters.add(Model::kRows, static_cast<uint64_t>(batch.row_count));
  model.counters.add(Model::kTokens, static_cast<uint64_t>(batch.token_count));
  model.counters.add(Model::kRequestsExecuteNs, run_ns * picked_.size());
  model.execute_ns.record(run_ns);
  model.batch_rows.record(static_cast<uint64_t>(batch.row_count));
  model.batch_tokens.record(static_cast<uint64_t>(batch.token_count));
  model.batch_sizes.record(batch.row_count, run_ns);
  model.last_execution.store(execution.ended, std::memory_order_relaxed);
  const Outcome outcome = status.ok() ? Outcome::kOk : Outcome::kError;
  for (const uint32_t index : picked_) {
    model.queue_ns.record(duration(core_.slots[index].arrival, execution.started));
    complete(index, outcome, status, execution);
  }
}

void Worker::drop(uint32_t index, Outcome outcome, Status status) {
  RequestSlot& slot = core_.slots[index];
  Model& model = *slot.entry->model;
  model.pending.erase(index);
  model.release_rows(slot.request.row_count);
  // Claimed like one that runs, so that a cancellation that comes now is told the truth. One that
  // came before makes claim() fail, and complete() finds out.
  (void)slot.state.claim(slot.generation);
  complete(index, outcome, std::move(status));
}

void Worker::complete(uint32_t index, Outcome outcome, Status status, const Execution& execution) {
  RequestSlot& slot = core_.slots[index];
  if (!slot.state.finish(slot.generation)) {
    outcome = Outcome::kCancelled;
    status = cancelled();
  }
  slot.entry->model->count(outcome);
  ++slot.entry->over_count;
  CompletionSink* const sink = slot.sink;
  Completion completion{.ticket = make_ticket(slot.generation, index),
                        .user = slot.user,
                        .status = std::move(status),
                        .queued = slot.arrival,
                        .started = execution.started,
                        .ended = execution.ended,
                        .batch_rows = saturated(execution.row_count),
                        .batch_tokens = saturated(execution.token_count)};
  // First the slot: whoever sees the completion finds room for the next request.
  core_.free_slots.push(index);
  sink->push(std::move(completion));
  pushed_.push_back(sink);  // within its capacity
}

void Worker::flush() {
  if (pushed_.empty()) return;
  flush_sinks();
  size_t kept = 0;
  bool any_deserted = false;
  // The last access to a model comes before its gate is left: the gate is what keeps it.
  for (ModelEntry* entry : active_) {
    if (!entry->model->pending.empty()) active_[kept++] = entry;
    const uint64_t over_count = std::exchange(entry->over_count, 0);
    if (over_count > 0 && entry->gate.leave(over_count)) any_deserted = true;
  }
  active_.resize(kept);
  if (any_deserted) core_.deserted.notify_all();
}

void Worker::flush_sinks() {
  // One flush per sink. Almost always there is but one event loop, or one blocking caller.
  if (std::any_of(pushed_.begin(), pushed_.end(),
                  [this](const CompletionSink* sink) { return sink != pushed_.front(); })) {
    std::sort(pushed_.begin(), pushed_.end());
  }
  for (auto first = pushed_.begin(); first != pushed_.end();) {
    const auto last = std::find_if(first, pushed_.end(),
                                   [first](const CompletionSink* sink) { return sink != *first; });
    (*first)->flush(last - first);
    first = last;
  }
  pushed_.clear();
}

void Worker::activate(ModelEntry& entry) {
  if (entry.model->pending.empty() && entry.over_count == 0) active_.push_back(&entry);
}

void Worker::sleep(bool was_closing) {
  if (spin_ns_max_ > 0) {
    const int64_t end = spin_clock_ns() + spin_ns_max_;
    while (core_.arrivals.approximate_size() == 0 && spin_clock_ns() < end) StdAtomics::pause();
  }
  core_.work.prepare();
  if (must_stay_awake(was_closing)) {
    core_.work.cancel();
    return;
  }
  int64_t timeout_ns = kNoTimeout;
  if (wake_at_ != kNoDeadline) timeout_ns = std::max<Nanos>(0, wake_at_ - core_.clock.now());
  core_.work.sleep(timeout_ns);
}

bool Worker::must_stay_awake(bool was_closing) {
  const bool arrived = take_arrivals();
  const bool hinted = take_cancel_hints();
  if (arrived || hinted) return true;
  if (core_.is_closing.load(std::memory_order_acquire)) return !was_closing || core_.all_deserted();
  // What is still pending is held back; a gate that was closed meanwhile ends that.
  return std::any_of(active_.begin(), active_.end(),
                     [](const ModelEntry* entry) { return entry->gate.is_closed(); });
}

}  // namespace pelton
