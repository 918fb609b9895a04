#include "csrc/serve/engine.h"

#include <pthread.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/base/cpu_count.h"
#include "csrc/concurrency/fork.h"
#include "csrc/serve/engine_core.h"
#include "csrc/serve/worker.h"

namespace pelton {
namespace {

constexpr int64_t kQueueRequestsMax = int64_t{1} << 20;
constexpr int kModelsMax = 4096;
constexpr int64_t kBatchWaitUsMax = 60'000'000;
constexpr int64_t kWeightMax = 1000;

ModelId make_model_id(uint32_t generation, uint32_t index) {
  return ModelId{generation} << 32 | index;
}
uint32_t index_of_model(ModelId id) { return static_cast<uint32_t>(id); }

Status unavailable(const char* why) { return Status(StatusCode::kUnavailable, why); }
Status model_not_found() { return Status(StatusCode::kNotFound, "no such model in this engine"); }
constexpr const char* kForked =
    "the engine belongs to the parent process: a forked child must make its own";
constexpr const char* kNotTaking =
    "the engine is closed or draining, or the model is being removed";

Status check_limit(const char* name, int64_t value, int64_t lowest, int64_t highest) {
  if (value >= lowest && value <= highest) return Status();
  return invalid_argument(std::string(name) + " must be from " + std::to_string(lowest) + " to " +
                          std::to_string(highest) + ", not " + std::to_string(value));
}

Status check_limits(const ModelLimits& limits) {
  constexpr int64_t kHighest = int64_t{1} << 40;
  PELTON_RETURN_IF_ERROR(check_limit("batch_rows_max", limits.batch_rows_max, 1, kHighest));
  PELTON_RETURN_IF_ERROR(check_limit("batch_tokens_max", limits.batch_tokens_max, 1, kHighest));
  PELTON_RETURN_IF_ERROR(check_limit("queue_rows_max", limits.queue_rows_max, 1, kHighest));
  PELTON_RETURN_IF_ERROR(check_limit("weight", limits.weight, 1, kWeightMax));
  return check_limit("batch_wait_us_max", limits.batch_wait_us_max, 0, kBatchWaitUsMax);
}

const Clock& default_clock() {
  static const MonotonicClock clock;
  return clock;
}

}  // namespace

Status SubmitResult::status() const {
  if (ok()) return Status();
  std::string text = what_;
  if (limit_name_ != nullptr) {
    text +=
        " " + std::to_string(came_) + ", at most " + limit_name_ + " = " + std::to_string(limit_);
  }
  return Status(code_, std::move(text));
}

class Engine::Impl {
 public:
  explicit Impl(const Options& options)
      : generation_(fork_generation()),
        core_(options, options.clock != nullptr ? *options.clock : default_clock()),
        team_({.thread_count = options.thread_count, .spin_ns_max = options.spin_ns_max}),
        // Besides the team there is whoever submits: spinning must leave that one a CPU.
        worker_(core_, team_, options.thread_count < usable_cpu_count() ? options.spin_ns_max : 0),
        thread_([this] { worker_.run(); }) {
    pthread_setname_np(thread_.native_handle(), "pelton-engine");
  }

  // In a forked child: the worker is not there, and locks may be held for ever.
  bool is_dead() const { return fork_generation() != generation_; }
  Team& team() { return team_; }

  Result<ModelId> add_model(std::shared_ptr<Runner> runner, const ModelLimits& limits);
  Status remove_model(ModelId id);
  SubmitResult submit(const Submission& submission, Wake wake);
  void wake() { core_.work.wake(); }
  void help(Nanos budget_ns);
  bool cancel(Ticket ticket);
  bool drain(Nanos deadline);
  void close();
  Result<ModelStats> stats(ModelId id);

 private:
  ModelEntry* find(ModelId id);  // REQUIRES: models_mutex is held
  void leave(ModelEntry& entry);
  void tell_deserted();
  static SubmitResult check(const Submission& submission, const Model& model, Nanos now);
  SubmitResult enqueue(const Submission& submission, ModelEntry& entry, Nanos now);
  // REQUIRES, both: models_mutex is held.
  void close_gates();
  void close_gate(ModelEntry& entry);
  bool wait_until_deserted(const Gate* gate, Nanos deadline);

  const uint32_t generation_;
  EngineCore core_;
  Team team_;  // after core_: its threads may still wake the worker when the worker has ended
  Worker worker_;
  std::mutex join_mutex_;
  std::thread thread_;  // guarded by join_mutex_ after construction
};

Result<ModelId> Engine::Impl::add_model(std::shared_ptr<Runner> runner, const ModelLimits& limits) {
  if (runner == nullptr) return invalid_argument("a model needs a runner");
  PELTON_RETURN_IF_ERROR(check_limits(limits));
  auto model = std::make_unique<Model>(std::move(runner), limits, core_.pending_pool);
  const std::lock_guard lock(core_.models_mutex);
  if (core_.is_draining) return unavailable("the engine is closed or draining");
  for (uint32_t index = 0; index < core_.model_count_max; ++index) {
    ModelEntry& entry = core_.entries[index];
    if (entry.model != nullptr) continue;
    if (++entry.generation == 0) entry.generation = 1;
    const ModelId id = make_model_id(entry.generation, index);
    entry.model = std::move(model);
    entry.id.store(id, std::memory_order_relaxed);
    entry.gate.open();
    core_.open_models.fetch_add(1, std::memory_order_relaxed);
    return id;
  }
  return unavailable("the engine has as many models as it can hold (models_max)");
}

Status Engine::Impl::remove_model(ModelId id) {
  ModelEntry* entry = nullptr;
  {
    const std::lock_guard lock(core_.models_mutex);
    entry = find(id);
    if (entry == nullptr || entry->is_being_removed) return model_not_found();
    entry->is_being_removed = true;
    close_gate(*entry);
  }
  core_.pause("remove_model");
  core_.work.wake();  // a batch that is held back must run now
  wait_until_deserted(&entry->gate, kNoDeadline);
  std::unique_ptr<Model> model;  // destroyed after the lock is given back: a runner may be large
  const std::lock_guard lock(core_.models_mutex);
  model = std::move(entry->model);
  entry->id.store(0, std::memory_order_relaxed);
  entry->is_being_removed = false;
  return Status();
}

SubmitResult Engine::Impl::submit(const Submission& submission, Wake wake) {
  const uint32_t index = index_of_model(submission.model);
  constexpr const char* kNoModel = "no such model in this engine";
  if (submission.model == 0 || index >= core_.model_count_max) {
    return SubmitResult::refused(StatusCode::kNotFound, kNoModel);
  }
  ModelEntry& entry = core_.entries[index];
  const Gate::Entry entered = entry.gate.enter();
  const bool is_it = entry.id.load(std::memory_order_relaxed) == submission.model;
  if (entered != Gate::Entry::kEntered) {
    if (entered == Gate::Entry::kRefusedLastOut) tell_deserted();
    return is_it ? SubmitResult::refused(StatusCode::kUnavailable, kNotTaking)
                 : SubmitResult::refused(StatusCode::kNotFound, kNoModel);
  }
  if (!is_it) {
    leave(entry);
    return SubmitResult::refused(StatusCode::kNotFound, kNoModel);
  }
  core_.pause("submit");
  const Nanos now = submission.arrival != 0 ? submission.arrival : core_.clock.now();
  SubmitResult result = check(submission, *entry.model, now);
  if (result.ok()) result = enqueue(submission, entry, now);
  if (result.ok()) {
    if (wake == Wake::kNow) core_.work.wake();
  } else {
    const bool late = result.code() == StatusCode::kDeadlineExceeded;
    entry.model->count(late ? Outcome::kExpired : Outcome::kRejected);
    leave(entry);
  }
  return result;
}

SubmitResult Engine::Impl::check(const Submission& submission, const Model& model, Nanos now) {
  const RequestView& request = submission.request;
  const auto refuse = [](const char* what) {
    return SubmitResult::refused(StatusCode::kInvalidArgument, what);
  };
  if (submission.sink == nullptr) return refuse("a submission needs a completion sink");
  if (request.row_count < 1) return refuse("a request needs at least one row");
  if (request.token_count < request.row_count)
    return refuse("every row of a request needs a token");
  if (request.row_count > model.limits.queue_rows_max) {
    return SubmitResult::refused(StatusCode::kInvalidArgument,
                                 "the request can never be queued: its rows are", request.row_count,
                                 "queue_rows_max", model.limits.queue_rows_max);
  }
  if (submission.deadline <= now) {
    return SubmitResult::refused(StatusCode::kDeadlineExceeded,
                                 "the deadline had passed when the request came");
  }
  return SubmitResult::accepted(0);
}

// Takes rows, room in the sink and a slot, in this order, and gives back what it has when the next
// is not to be had.
SubmitResult Engine::Impl::enqueue(const Submission& submission, ModelEntry& entry, Nanos now) {
  Model& model = *entry.model;
  const int64_t row_count = submission.request.row_count;
  if (!model.reserve_rows(row_count)) {
    return SubmitResult::refused(StatusCode::kQueueFull,
                                 "the model's queue is full: its rows with this request's would be",
                                 model.queued_rows.load(std::memory_order_relaxed) + row_count,
                                 "queue_rows_max", model.limits.queue_rows_max);
  }
  if (!submission.sink->try_reserve()) {
    model.release_rows(row_count);
    return SubmitResult::refused(StatusCode::kQueueFull,
                                 "the completion sink is full: its completions were not taken");
  }
  const uint32_t index = core_.free_slots.pop();
  if (index == IndexStack::kNone) {
    submission.sink->cancel_reservation();
    model.release_rows(row_count);
    return SubmitResult::refused(
        StatusCode::kQueueFull, "the engine's queue is full: its requests with this one would be",
        int64_t{core_.slot_count} + 1, "queue_requests_max", core_.slot_count);
  }
  RequestSlot& slot = core_.slots[index];
  slot.entry = &entry;
  slot.sink = submission.sink;
  slot.user = submission.user;
  slot.request = submission.request;
  slot.level = level_of_priority(submission.priority);
  slot.deadline = submission.deadline;
  slot.arrival = now;
  slot.generation = slot.state.open();
  const Ticket ticket = make_ticket(slot.generation, index);
  // The slots are the ring's budget. From here on the request is the worker's, and may be over
  // before this returns.
  PELTON_CHECK(core_.arrivals.try_push(ticket));
  core_.pause("queued");
  return SubmitResult::accepted(ticket);
}

bool Engine::Impl::cancel(Ticket ticket) {
  const uint32_t index = slot_of_ticket(ticket);
  if (index >= core_.slot_count) return false;
  switch (core_.slots[index].state.cancel(generation_of_ticket(ticket))) {
    case SlotState::Cancelled::kTooLate:
      return false;
    case SlotState::Cancelled::kQueued:
      core_.pause("cancel");
      if (core_.cancel_hints.try_push(ticket)) core_.work.wake();
      return true;
    case SlotState::Cancelled::kClaimed:
    case SlotState::Cancelled::kBefore:
      return true;
  }
  return false;
}

bool Engine::Impl::drain(Nanos deadline) {
  {
    const std::lock_guard lock(core_.models_mutex);
    close_gates();
  }
  core_.pause("drain");
  core_.work.wake();  // batches that are held back must run now
  return wait_until_deserted(nullptr, deadline);
}

void Engine::Impl::help(Nanos budget_ns) {
  // Whoever holds the role sees what was submitted before: it looks once more before it gives it
  // up.
  if (core_.role.try_lock()) {
    const bool is_done = worker_.help(budget_ns);
    core_.role.unlock();
    if (is_done) return;
  }
  core_.work.wake();
}

void Engine::Impl::close() {
  {
    const std::lock_guard lock(core_.models_mutex);
    close_gates();
    core_.is_closing.store(true, std::memory_order_release);
  }
  core_.pause("close");
  core_.work.wake();
  const std::lock_guard lock(join_mutex_);
  if (thread_.joinable()) thread_.join();
}

Result<ModelStats> Engine::Impl::stats(ModelId id) {
  const std::lock_guard lock(core_.models_mutex);
  const ModelEntry* entry = find(id);
  if (entry == nullptr) return model_not_found();
  const Model& model = *entry->model;
  const auto counters = model.counters.snapshot();
  ModelStats stats;
  std::copy_n(counters.begin(), kOutcomeCount, stats.requests.begin());
  stats.batches = counters[Model::kBatches];
  stats.rows = counters[Model::kRows];
  stats.tokens = counters[Model::kTokens];
  stats.queue_rows = model.queued_rows.load(std::memory_order_relaxed);
  stats.queue_ns = model.queue_ns.snapshot();
  stats.execute_ns = model.execute_ns.snapshot();
  stats.batch_rows = model.batch_rows.snapshot();
  stats.batch_tokens = model.batch_tokens.snapshot();
  stats.requests_execute_ns = counters[Model::kRequestsExecuteNs];
  stats.last_execution = model.last_execution.load(std::memory_order_relaxed);
  stats.batch_sizes = model.batch_sizes.snapshot();
  return stats;
}

ModelEntry* Engine::Impl::find(ModelId id) {
  const uint32_t index = index_of_model(id);
  if (id == 0 || index >= core_.model_count_max) return nullptr;
  ModelEntry& entry = core_.entries[index];
  return entry.id.load(std::memory_order_relaxed) == id ? &entry : nullptr;
}

void Engine::Impl::leave(ModelEntry& entry) {
  if (entry.gate.leave(1)) tell_deserted();
}

void Engine::Impl::tell_deserted() {
  core_.deserted.notify_all();
  core_.work.wake();  // a closing worker waits for the last one to leave
}

void Engine::Impl::close_gates() {
  core_.is_draining = true;
  for (uint32_t i = 0; i < core_.model_count_max; ++i) close_gate(core_.entries[i]);
}

void Engine::Impl::close_gate(ModelEntry& entry) {
  if (entry.gate.is_closed()) return;
  entry.gate.close();
  core_.open_models.fetch_sub(1, std::memory_order_relaxed);
}

bool Engine::Impl::wait_until_deserted(const Gate* gate, Nanos deadline) {
  const auto is_over = [&] { return gate != nullptr ? gate->is_deserted() : core_.all_deserted(); };
  for (;;) {
    if (is_over()) return true;
    const uint32_t key = core_.deserted.prepare();
    const Nanos left = deadline == kNoDeadline ? kNoTimeout : deadline - core_.clock.now();
    if (is_over() || (deadline != kNoDeadline && left <= 0)) {
      core_.deserted.cancel();
      return is_over();
    }
    core_.deserted.wait(key, left);
  }
}

Engine::Engine(const Options& options) {
  PELTON_CHECK(options.thread_count >= 1);
  PELTON_CHECK(options.queue_requests_max >= 1 && options.queue_requests_max <= kQueueRequestsMax);
  PELTON_CHECK(options.models_max >= 1 && options.models_max <= kModelsMax);
  impl_ = std::make_unique<Impl>(options);
}

Engine::~Engine() {
  if (impl_->is_dead()) {
    // Its threads stayed in the parent, and so did whoever holds its locks.
    (void)impl_.release();
    return;
  }
  impl_->close();
}

int Engine::thread_count() const { return impl_->team().size(); }

Team& Engine::team() { return impl_->team(); }

Result<ModelId> Engine::add_model(std::shared_ptr<Runner> runner, const ModelLimits& limits) {
  if (impl_->is_dead()) return unavailable(kForked);
  return impl_->add_model(std::move(runner), limits);
}

Status Engine::remove_model(ModelId model) {
  if (impl_->is_dead()) return unavailable(kForked);
  return impl_->remove_model(model);
}

SubmitResult Engine::submit(const Submission& submission, Wake wake) {
  if (impl_->is_dead()) return SubmitResult::refused(StatusCode::kUnavailable, kForked);
  return impl_->submit(submission, wake);
}

void Engine::wake() {
  if (!impl_->is_dead()) impl_->wake();
}

void Engine::help(Nanos budget_ns) {
  if (!impl_->is_dead()) impl_->help(budget_ns);
}

bool Engine::cancel(Ticket ticket) { return !impl_->is_dead() && impl_->cancel(ticket); }

bool Engine::drain(Nanos deadline) { return !impl_->is_dead() && impl_->drain(deadline); }

void Engine::close() {
  if (!impl_->is_dead()) impl_->close();
}

Result<ModelStats> Engine::stats(ModelId model) const {
  if (impl_->is_dead()) return unavailable(kForked);
  return impl_->stats(model);
}

}  // namespace pelton
