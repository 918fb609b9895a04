#include "csrc/serve/worker.h"

#include <algorithm>
#include <array>
#include <limits>
#include <mutex>
#include <utility>

#include "csrc/base/check.h"

namespace pelton {
namespace {

int32_t saturated(int64_t count) {
  return static_cast<int32_t>(std::min<int64_t>(count, std::numeric_limits<int32_t>::max()));
}

Status cancelled() { return Status(StatusCode::kCancelled, "the request was cancelled"); }
Status expired() {
  return Status(StatusCode::kDeadlineExceeded, "the deadline passed before the request ran");
}
Status closed() {
  return Status(StatusCode::kUnavailable, "the engine was closed before the request ran");
}

}  // namespace

Worker::Worker(EngineCore& core, Team& team, int64_t spin_ns_max)
    : core_(core),
      team_(team),
      spin_ns_max_(spin_ns_max),
      front_(core.slot_count),
      nested_(core.slot_count),
      back_(core.slot_count) {
  active_.reserve(core.model_count_max);
  contenders_.reserve(core.model_count_max);
  by_age_.reserve(core.model_count_max);
  candidate_.reserve(core.slot_count);
  // Between two flushes all that is pending can be over, and all that two calls of take_arrivals()
  // take.
  pushed_.reserve(3 * size_t{core.slot_count});
}

void Worker::run() {
  const std::lock_guard role(core_.role);
  for (bool has_started = false;;) {
    // Read before the arrivals are taken: what close() found accepted is then among them or still
    // inside a gate.
    const bool closing = core_.is_closing.load(std::memory_order_acquire);
    collect_back();
    take_arrivals();
    take_cancel_hints();
    // Where a batch has just run, its end is new enough.
    if (!has_started) now_ = core_.clock.now();
    if (closing) {
      fail_pending();
    } else {
      expire(now_);
    }
    flush();  // before a batch: these need not wait for it
    has_started = start_a_batch(now_);
    if (has_started) continue;
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
      Model& model = *slot.entry->model;
      if (model.pending.empty()) model.served_ns = share_.join(model.served_ns);
      model.pending.insert({.level = slot.level,
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
  ++slot.entry->over_count;  // and it is active: see finish()
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
  core_.pause("flush");
  flush_sinks();
  size_t kept = 0;
  bool any_deserted = false;
  // The last access to a model comes before its gate is left: the gate is what keeps it.
  for (ModelEntry* entry : active_) {
    entry->is_active = !entry->model->pending.empty();
    if (entry->is_active) active_[kept++] = entry;
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
  if (entry.is_active) return;
  entry.is_active = true;
  active_.push_back(&entry);
}

void Worker::sleep(bool was_closing) {
  if (spin_ns_max_ > 0) {
    const int64_t end = spin_clock_ns() + spin_ns_max_;
    while (core_.arrivals.approximate_size() == 0 && !back_is_done() && spin_clock_ns() < end) {
      StdAtomics::pause();
    }
  }
  core_.work.prepare();
  if (must_stay_awake(was_closing)) {
    core_.work.cancel();
    return;
  }
  int64_t timeout_ns = kNoTimeout;
  if (wake_at_ != kNoDeadline) timeout_ns = std::max<Nanos>(0, wake_at_ - core_.clock.now());
  core_.role.unlock();
  core_.work.sleep(timeout_ns);
  core_.role.lock();
}

bool Worker::help(Nanos budget_ns) {
  if (core_.is_closing.load(std::memory_order_acquire)) return false;
  take_arrivals();
  take_cancel_hints();
  now_ = core_.clock.now();
  const Nanos end = now_ + budget_ns;
  expire(now_);
  flush();
  // One batch at a time: what arrives meanwhile belongs to it too.
  for (bool goes_on = true; goes_on; take_arrivals()) {
    const Choice choice = choose(now_);
    goes_on = choice.entry != nullptr;
    if (!goes_on) break;
    const bool is_short = choice.outlook.threads == 1 && choice.outlook.predicted != kUnpredicted &&
                          choice.outlook.predicted <= end - now_;
    if (!is_short || choice.placement.place != Place::kFront) return false;
    start(front_, choice);
  }
  // A batch that is held back, or one on the back lane, is the worker's to wait for.
  return active_.empty() && back_.is_idle() && wake_at_ == kNoDeadline;
}

bool Worker::must_stay_awake(bool was_closing) {
  const bool arrived = take_arrivals();
  const bool hinted = take_cancel_hints();
  if (arrived || hinted || back_is_done()) return true;
  if (core_.is_closing.load(std::memory_order_acquire)) return !was_closing || core_.all_deserted();
  // What is still pending is held back; a gate that was closed meanwhile ends that.
  return std::any_of(active_.begin(), active_.end(),
                     [](const ModelEntry* entry) { return entry->gate.is_closed(); });
}

}  // namespace pelton
