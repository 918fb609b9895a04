// Engine: models, one queue, one worker thread that forms batches and runs them, and the team that
// they run on.
//
// Requests of different models never share a batch. Several models share the team by level, then by
// weight; two batches of different models may run at once; a long one leaves room for others. See
// schedule.h for whose batch comes next and where it runs, pick_batch.h for what goes into it.
//
// Life of a request: submit() puts it into a slot and queues it. It is over when its completion has
// been pushed to its sink: exactly once for each accepted request, whatever happens (run, failed,
// cancelled, expired, closed), unless the process forks: in the child every copy of an engine is
// dead, all calls fail with kUnavailable and the destructor waits for nothing.
//
// Thread-safe: all methods, except the destructor. None may be called from Runner::run, but
// submit(), wake() and cancel(). submit() never waits, and neither it nor the steady path of the
// worker allocates.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "csrc/base/batch_view.h"
#include "csrc/base/clock.h"
#include "csrc/base/status.h"
#include "csrc/concurrency/team.h"
#include "csrc/serve/completion.h"
#include "csrc/serve/runner.h"
#include "csrc/serve/stats.h"

namespace pelton {

// Names a model for as long as the engine lives; never given twice (but after 2^32 models in one
// place of the table).
using ModelId = uint64_t;

struct ModelLimits {
  int64_t batch_rows_max = 32;
  int64_t batch_tokens_max = 16'384;
  int64_t batch_wait_us_max = 0;  // how long a request may be held back for a fuller batch
  int64_t queue_rows_max = 4096;  // accepted and not yet in a batch
  int64_t weight = 1;  // of its share of the cores while several models have requests, 1 to 1000
};

struct Submission {
  ModelId model = 0;
  int priority = 0;              // 1 highest to 4 lowest; 0 (or below) = 2; above 4 = 4
  Nanos deadline = kNoDeadline;  // absolute, CLOCK_MONOTONIC
  RequestView request = {};  // what its spans and pointers name stays valid until the completion
  CompletionSink* sink = nullptr;  // see CompletionSink for how long it must live
  void* user = nullptr;            // comes back in the completion
  // When the request came, by the engine's clock, not in the future; 0: the engine reads its clock.
  // A caller that submits many in a turn reads it once.
  Nanos arrival = 0;
};

// Whether submit() wakes the worker.
enum class Wake : uint8_t {
  kNow,
  // The request is queued, but a worker that sleeps may leave it there until wake() is called: for
  // an event loop, which submits many requests in a turn and wakes once, at its end.
  kLater,
};

// What submit() answers; like a Result<Ticket>, but a refusal owns nothing, so that refusing
// allocates nothing. Its text is made by status().
class [[nodiscard]] SubmitResult {
 public:
  static SubmitResult accepted(Ticket ticket) { return SubmitResult(StatusCode::kOk, ticket); }
  // The text is `what`, or "what CAME, at most LIMIT_NAME = LIMIT". REQUIRES: string literals.
  static SubmitResult refused(StatusCode code, const char* what) {
    return refused(code, what, 0, nullptr, 0);
  }
  static SubmitResult refused(StatusCode code, const char* what, int64_t came,
                              const char* limit_name, int64_t limit) {
    SubmitResult result(code, 0);
    result.what_ = what;
    result.limit_name_ = limit_name;
    result.came_ = came;
    result.limit_ = limit;
    return result;
  }

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  // REQUIRES: ok().
  Ticket value() const {
    PELTON_CHECK(ok());
    return ticket_;
  }
  // The code with a message that says what was expected and what came. Allocates when !ok().
  Status status() const;

 private:
  SubmitResult(StatusCode code, Ticket ticket) : code_(code), ticket_(ticket) {}
  StatusCode code_;
  Ticket ticket_;
  const char* what_ = "";
  const char* limit_name_ = nullptr;
  int64_t came_ = 0;
  int64_t limit_ = 0;
};

// For tests: called where threads hand something over to others, from the thread that does it. May
// take any time; must not use the engine.
class Pauser {
 public:
  virtual ~Pauser() = default;
  virtual void pause(const char* where) noexcept = 0;
};

class Engine {
 public:
  struct Options {
    int thread_count = 1;               // of the team; the worker is one of them
    int64_t queue_requests_max = 4096;  // accepted and not completed, of all models
    int models_max = 64;
    int64_t spin_ns_max =
        50'000;  // how long worker and team look for work before they sleep, CPUs permitting
    const Clock* clock = nullptr;  // nullptr: the monotonic clock. Must outlive the engine.
    Pauser* pauser = nullptr;      // nullptr: none. Must outlive the engine.
  };
  // Starts the worker and the team. REQUIRES: thread_count >= 1, 1 <= queue_requests_max <= 2^20,
  // 1 <= models_max <= 4096.
  explicit Engine(const Options& options);
  // close()
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  int thread_count() const;
  // The team that batches run on. Only a Runner may use it, and only as its site says.
  Team& team();

  // kInvalidArgument: no runner, a limit below 1 (batch_wait_us_max: outside [0, 60 s]; weight:
  // outside [1, 1000]).
  // kUnavailable: closed, draining, or models_max.
  Result<ModelId> add_model(std::shared_ptr<Runner> runner, const ModelLimits& limits);
  // Refuses further requests for the model, waits until all accepted ones are over, and lets go of
  // the runner. kNotFound: no such model (any more).
  Status remove_model(ModelId model);

  // Refusals: kQueueFull (the model's rows, the engine's requests, or the sink), kNotFound,
  // kInvalidArgument (no sink, no rows or tokens, more rows than queue_rows_max), kDeadlineExceeded
  // (already past), kUnavailable (closed, draining, the model is being removed, or forked).
  SubmitResult submit(const Submission& submission, Wake wake = Wake::kNow);
  // Wakes the worker, if it sleeps, for what was submitted with Wake::kLater: one system call at
  // most. May be called from Runner::run.
  void wake();
  // Like wake(), but where the worker sleeps and what waits is expected to run within `budget_ns`,
  // on one thread, this one runs it, batch after batch: handing it over would take longer. What is
  // left then is the worker's, which is woken. Completions have been flushed to their sinks when it
  // returns. Not from Runner::run, and not by who holds a lock that a sink takes.
  void help(Nanos budget_ns);
  // True: the request completes as kCancelled, as soon as the batch that runs now is done; if that
  // is its own, its result is dropped. False: it is over, or never was.
  bool cancel(Ticket ticket);

  // Refuses further requests and models, for good, and waits until all accepted ones are over, at
  // most until `deadline` (CLOCK_MONOTONIC). True when they are.
  bool drain(Nanos deadline);
  // Refuses everything from now on, fails what is queued with kUnavailable, lets the batch that
  // runs finish, ends the worker. Completions have been flushed when it returns. May be called
  // again.
  void close();

  // kNotFound: no such model.
  Result<ModelStats> stats(ModelId model) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pelton
