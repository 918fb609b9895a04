// From pending requests to batches that ran.
#include <algorithm>
#include <limits>
#include <utility>

#include "csrc/serve/worker.h"

namespace pelton {
namespace {

uint64_t duration(Nanos from, Nanos to) {
  return static_cast<uint64_t>(std::max<Nanos>(to - from, 0));
}

// The time that a batch must be expected to need when it is held back towards a deadline: half as
// long again as the batches before it, and what a wake-up takes on a busy machine. Held to the last
// moment it would often be too late.
BatchTime with_margin(const BatchTime& core_time, int threads) {
  constexpr double kFactor = 1.5;
  constexpr double kWakeNs = 2e6;
  return {.fixed_ns = kFactor * core_time.fixed_ns / threads + kWakeNs,
          .token_ns = kFactor * core_time.token_ns / threads};
}

bool is_long(const ModelEntry& entry) {
  return entry.long_id == entry.id.load(std::memory_order_relaxed);
}

// On the thread that leads the flight's lane.
void run(Flight& flight, const Clock& clock) {
  Runner& runner = *flight.entry->model->runner;
  flight.execution.started = clock.now();
  flight.status = runner.run_at(flight.batch, flight.deadline, flight.site);
  flight.execution.ended = clock.now();
}

}  // namespace

bool Worker::start_a_batch(Nanos now) {
  const Choice choice = choose(now);
  if (choice.entry == nullptr) return false;
  switch (choice.placement.place) {
    case Place::kBack:
      start(back_, choice);
      break;
    case Place::kNested:
      start(nested_, choice);
      break;
    case Place::kFront:
      start(front_, choice);
      break;
    case Place::kNowhere:
      PELTON_CHECK(false);
  }
  return true;
}

Worker::Choice Worker::choose(Nanos now) {
  wake_at_ = kNoDeadline;
  back_is_promised_ = false;
  line_up();
  if (aged_turn_is_due_) {
    by_age_.assign(contenders_.begin(), contenders_.end());
    std::sort(by_age_.begin(), by_age_.end(), [](const ModelEntry* a, const ModelEntry* b) {
      return a->model->pending.oldest().arrival_number < b->model->pending.oldest().arrival_number;
    });
    for (ModelEntry* entry : by_age_) {
      const Choice choice = consider(*entry, now, true);
      if (choice.entry != nullptr) return choice;
      if (choice.pick.count == 0) continue;  // held back by itself
      back_is_promised_ = choice.outlook.is_long();
      break;
    }
  }
  for (ModelEntry* entry : contenders_) {
    const Choice choice = consider(*entry, now, false);
    if (choice.entry != nullptr) return choice;
  }
  return {};
}

void Worker::line_up() {
  contenders_.clear();
  for (ModelEntry* entry : active_) {
    if (!entry->model->pending.empty() && !is_running(*entry->model->runner)) {
      contenders_.push_back(entry);
    }
  }
  if (contenders_.size() < 2) return;
  std::sort(contenders_.begin(), contenders_.end(), [](const ModelEntry* a, const ModelEntry* b) {
    return goes_before({&*a->model->pending.begin(), a->model->served_ns},
                       {&*b->model->pending.begin(), b->model->served_ns});
  });
}

bool Worker::is_running(const Runner& runner) const {
  const auto runs = [&runner](const Flight& flight) {
    return !flight.is_idle() && flight.entry->model->runner.get() == &runner;
  };
  return runs(back_) || runs(front_) || runs(nested_);
}

Worker::Choice Worker::consider(ModelEntry& entry, Nanos now, bool is_aged_turn) {
  Model& model = *entry.model;
  const bool oldest_first =
      is_aged_turn || model.batch_number % kOldestFirstPeriod == kOldestFirstPeriod - 1;
  Choice choice;
  choice.pick = pick_from(entry, now, oldest_first);
  if (choice.pick.count == 0) {
    wake_at_ = std::min(wake_at_, choice.pick.wait_until);
    return choice;
  }
  choice.outlook = outlook_of(model, choice.pick);
  const TeamUse use = team_use(entry);
  choice.others_loaded = use.others_loaded;
  choice.placement = place_batch(choice.outlook, use);
  if (choice.placement.place == Place::kNowhere) return choice;
  if (choice.placement.place == Place::kNested && !is_aged_turn) {
    // The long batch has been charged for the whole of its time: what runs inside it has the rest
    // of its share, no more.
    const Contender inside{&*model.pending.begin(), model.served_ns};
    const Contender around{&front_.head, front_.entry->model->served_ns};
    if (!goes_before(inside, around)) return choice;
  }
  choice.entry = &entry;
  choice.is_aged_turn = is_aged_turn;
  return choice;
}

// Leaves the slots in candidate_.
BatchPick Worker::pick_from(const ModelEntry& entry, Nanos now, bool oldest_first) {
  const Model& model = *entry.model;
  BatchRules rules{.rows_max = model.limits.batch_rows_max,
                   .tokens_max = model.limits.batch_tokens_max,
                   .oldest_first = oldest_first};
  // Nobody is coming any more to a closed gate: a batch that is held back would only be late.
  if (model.limits.batch_wait_us_max > 0 && !entry.gate.is_closed()) {
    rules.wait_max = model.limits.batch_wait_us_max * 1000;
    rules.predicted = with_margin(model.core_time.estimate(), model.threads_last);
  }
  // Within its capacity. Every request has a row at least.
  candidate_.resize(std::min(model.pending.size(), static_cast<size_t>(rules.rows_max)));
  const BatchPick pick = pick_batch(model.pending, rules, now, candidate_);
  candidate_.resize(pick.count);
  return pick;
}

int Worker::threads_of(const Model& model, int64_t row_count, int64_t token_count) const {
  return std::clamp(model.runner->threads_wanted(row_count, token_count), 1, team_.size());
}

BatchOutlook Worker::outlook_of(const Model& model, const BatchPick& pick) const {
  BatchOutlook outlook{.threads = threads_of(model, pick.row_count, pick.token_count)};
  if (!model.core_time.is_empty()) {
    outlook.predicted = model.core_time.estimate().of(pick.token_count) / outlook.threads;
  }
  return outlook;
}

TeamUse Worker::team_use(const ModelEntry& entry) const {
  TeamUse use{.team_size = team_.size(), .back_is_promised = back_is_promised_};
  if (!front_.is_idle()) {
    use.front = front_.yields ? TeamUse::Front::kYielding : TeamUse::Front::kBusy;
    use.front_ranks = front_.site.rank_count;
  }
  if (!back_.is_idle()) use.back_ranks = back_.site.rank_count;
  use.others_loaded =
      core_.open_models.load(std::memory_order_relaxed) > (entry.gate.is_closed() ? 0 : 1);
  // Only asked for where it counts: it looks at every model.
  if (use.back_ranks > 0 && use.others_loaded) use.short_others_loaded = short_others_loaded(entry);
  use.short_others_wait =
      std::any_of(contenders_.begin(), contenders_.end(), [&](const ModelEntry* other) {
        return other != &entry && other->model->limits.batch_wait_us_max == 0 && !is_long(*other);
      });
  return use;
}

bool Worker::short_others_loaded(const ModelEntry& entry) const {
  for (uint32_t i = 0; i < core_.model_count_max; ++i) {
    const ModelEntry& other = core_.entries[i];
    if (&other == &entry || other.gate.is_closed()) continue;
    if (!is_long(other)) return true;
  }
  return false;
}

void Worker::start(Flight& flight, const Choice& choice) {
  ModelEntry& entry = *choice.entry;
  Model& model = *entry.model;
  if (choice.is_aged_turn) aged_turn_is_due_ = false;
  if (++batch_number_ % kOldestFirstPeriod == kOldestFirstPeriod - 1) aged_turn_is_due_ = true;
  ++model.batch_number;
  const Placement& placement = choice.placement;
  flight.head = *model.pending.begin();
  claim(entry, flight);
  if (flight.requests.empty()) return flush();

  flight.entry = &entry;
  flight.status = Status();
  flight.is_done.store(false, std::memory_order_relaxed);
  flight.is_long = choice.others_loaded && choice.outlook.is_long();
  flight.yields = placement.place == Place::kFront && placement.finely;
  flight.site = {.lane = placement.place == Place::kBack ? &team_.back() : &team_.front(),
                 .rank_count = placement.ranks,
                 .finely = flight.yields};
  if (const Flight& beside = placement.place == Place::kBack ? front_ : back_; !beside.is_idle()) {
    model.served_ns = FairShare::beside(model.served_ns, beside.entry->model->served_ns);
  }
  share_.choose(model.served_ns);
  const Nanos predicted =
      choice.outlook.predicted == kUnpredicted ? kLongBatchNs : choice.outlook.predicted;
  flight.nested_ns = 0;
  flight.charged_ns = 0;
  charge(flight, static_cast<double>(predicted) * choice.outlook.threads);
  if (placement.place == Place::kBack) {
    if (flight.is_long) {
      flight.site.finely = true;
      flight.site.yield = {[](void* self) { static_cast<GiveWay*>(self)->now_and_then(); },
                           &back_gives_way_};
    }
    core_.pause("post");
    team_.post(placement.ranks, &Worker::run_back, this);
    return;
  }
  const bool hooked = placement.place == Place::kFront && choice.others_loaded &&
                      (flight.yields || team_.size() > 1);
  if (hooked) {
    flight.site.yield = {[](void* self) { static_cast<Worker*>(self)->yield(); }, this};
    may_start_more_ = true;
  }
  pelton::run(flight, core_.clock);
  now_ = flight.execution.ended;
  if (placement.place == Place::kNested) front_.nested_ns += now_ - flight.execution.started;
  finish(flight);
  flush();
}

void Worker::charge(Flight& flight, double core_ns) {
  Model& model = *flight.entry->model;
  model.served_ns += (core_ns - flight.charged_ns) / static_cast<double>(model.limits.weight);
  flight.charged_ns = core_ns;
}

// On the back lane's thread.
void Worker::run_back(void* self) {
  Worker& worker = *static_cast<Worker*>(self);
  EngineCore& core = worker.core_;
  const bool gives_way = worker.back_.is_long;
  if (gives_way) worker.back_gives_way_.begin();
  pelton::run(worker.back_, core.clock);
  if (gives_way) worker.back_gives_way_.end();
  core.pause("back is done");
  worker.back_.is_done.store(true, std::memory_order_release);
  // The core outlives the team, and so this thread; the worker may not.
  core.work.wake();
}

bool Worker::collect_back() {
  if (!back_is_done()) return false;
  finish(back_);
  return true;
}

// In the hook of the front's batch.
void Worker::yield() {
  const bool changed = back_is_done() || core_.arrivals.approximate_size() > 0;
  if (!changed && !may_start_more_) return;
  collect_back();
  take_arrivals();
  take_cancel_hints();
  now_ = core_.clock.now();
  if (front_.yields) {  // longer than predicted, if it was
    const auto so_far = static_cast<double>(now_ - front_.execution.started - front_.nested_ns);
    if (so_far > front_.charged_ns) charge(front_, so_far);
  }
  if (core_.is_closing.load(std::memory_order_acquire)) {
    may_start_more_ = false;  // run() does the rest
    return flush();
  }
  expire(now_);
  flush();
  may_start_more_ = start_a_batch(now_);
}

// Moves the picked requests from pending to claimed; those that were cancelled meanwhile are
// completed and left out.
void Worker::claim(ModelEntry& entry, Flight& flight) {
  flight.slots.clear();
  flight.requests.clear();
  flight.batch = {};
  flight.deadline = std::numeric_limits<Nanos>::min();
  core_.pause("claim");
  for (const uint32_t index : candidate_) {
    RequestSlot& slot = core_.slots[index];
    entry.model->pending.erase(index);
    entry.model->release_rows(slot.request.row_count);
    if (!slot.state.claim(slot.generation)) {
      complete(index, Outcome::kCancelled, Status());
      continue;
    }
    flight.slots.push_back(index);
    flight.requests.push_back(&slot.request);
    flight.batch.row_count += slot.request.row_count;
    flight.batch.token_count += slot.request.token_count;
    flight.deadline = std::max(flight.deadline, slot.deadline);
  }
  flight.batch.requests = flight.requests;
  flight.execution = {.row_count = flight.batch.row_count, .token_count = flight.batch.token_count};
}

void Worker::finish(Flight& flight) {
  ModelEntry& entry = *flight.entry;
  activate(entry);
  record(flight);
  flight.entry = nullptr;
  core_.pause("complete");
  Model& model = *entry.model;
  const Outcome outcome = flight.status.ok() ? Outcome::kOk : Outcome::kError;
  for (const uint32_t index : flight.slots) {
    model.queue_ns.record(duration(core_.slots[index].arrival, flight.execution.started));
    complete(index, outcome, flight.status, flight.execution);
  }
}

void Worker::record(Flight& flight) {
  ModelEntry& entry = *flight.entry;
  Model& model = *entry.model;
  const BatchView& batch = flight.batch;
  const uint64_t run_ns = duration(flight.execution.started, flight.execution.ended);
  const int threads = threads_of(model, batch.row_count, batch.token_count);
  model.threads_last = std::min(threads, flight.site.rank_count);
  const double core_ns =
      static_cast<double>(static_cast<Nanos>(run_ns) - flight.nested_ns) * model.threads_last;
  charge(flight, core_ns);
  model.core_time.add(batch.token_count, static_cast<Nanos>(core_ns));
  const bool is_long = model.core_time.estimate().of(batch.token_count) > kLongBatchNs * threads;
  entry.long_id = is_long ? entry.id.load(std::memory_order_relaxed) : 0;

  model.counters.add(Model::kBatches, 1);
  model.counters.add(Model::kRows, static_cast<uint64_t>(batch.row_count));
  model.counters.add(Model::kTokens, static_cast<uint64_t>(batch.token_count));
  model.counters.add(Model::kRequestsExecuteNs, run_ns * flight.slots.size());
  model.execute_ns.record(run_ns);
  model.batch_rows.record(static_cast<uint64_t>(batch.row_count));
  model.batch_tokens.record(static_cast<uint64_t>(batch.token_count));
  model.batch_sizes.record(batch.row_count, run_ns);
  model.last_execution.store(flight.execution.ended, std::memory_order_relaxed);
}

}  // namespace pelton
