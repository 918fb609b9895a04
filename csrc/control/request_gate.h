// RequestGate: the one interface of everything that decides about a request before it runs, and
// learns how it ended. Admission, router, cache and limiter are gates at their places in the path.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "csrc/base/clock.h"
#include "csrc/base/problem.h"

namespace pelton {

// A batch in which a request ran, or a part of it; times by the engine's clock.
struct BatchRun {
  Nanos queued = 0;   // when the request, or its part, was accepted
  Nanos started = 0;  // the batch; above 0
  Nanos ended = 0;
  int64_t rows = 0;  // of the whole batch
  int64_t tokens = 0;
};

// What gates know of a request. A value of the caller's, the same object in before() and after();
// what was set for before() stays as it is until after().
struct GateRequest {
  int64_t row_count = 0;
  int64_t token_count = 0;  // dense models: == row_count
  int64_t body_bytes = 0;
  Nanos arrival = 0;
  Nanos deadline = kNoDeadline;
  int priority = 2;
  // Of the whole batch it ran in, the last one if they were several; 0 when it did not run.
  Nanos batch_ns = 0;
  int64_t batch_rows = 0;
  int64_t batch_tokens = 0;
  // Over all batches it ran in.
  Nanos queue_ns = 0;
  Nanos run_ns = 0;
  uint32_t passed = 0;          // the chain's own: how many gates it passed
  int32_t deadline_bucket = 0;  // the deadline gate's own

  // Filled before after(), once for each batch that it ran in.
  void ran(const BatchRun& run) {
    batch_ns = run.ended - run.started;
    batch_rows = run.rows;
    batch_tokens = run.tokens;
    queue_ns += run.started - run.queued;
    run_ns += batch_ns;
  }
};

// Why a request is refused; its text is made only when it is answered.
struct Refusal {
  ProblemKind kind = ProblemKind::kUnavailable;
  const char* what = "";             // string literals
  const char* limit_name = nullptr;  // with: "WHAT CAME, at most LIMIT_NAME = LIMIT"
  int64_t came = 0;
  int64_t limit = 0;
  int64_t retry_after_ms = 0;  // 0: none

  ProblemPtr problem() const;
};

struct GateDecision {
  enum class Kind : uint8_t { kAccept, kAcceptRows, kAnswerNow, kWait, kReroute, kReject };
  Kind kind = Kind::kAccept;
  Refusal refusal;                     // kReject
  uint64_t ticket = 0;                 // kWait: finished from any thread
  uint64_t version = 0;                // kReroute
  std::span<const uint64_t> row_mask;  // kAcceptRows: bit i of word i / 64 is row i: run it
  uint32_t gate = 0;                   // of a chain's decision: the place of the gate that made it

  static GateDecision accept() { return {}; }
  static GateDecision reject(const Refusal& refusal) {
    GateDecision decision;
    decision.kind = Kind::kReject;
    decision.refusal = refusal;
    return decision;
  }
};

enum class RequestEnd : uint8_t { kOk, kError, kCancelled, kExpired, kRejected };

// Neither call allocates, waits or takes a lock that is held for long. Called on one thread (the
// event loop's) unless an implementation says otherwise.
class RequestGate {
 public:
  virtual ~RequestGate() = default;
  // A rejected request has not passed: what this call counted for it, it takes back itself.
  virtual GateDecision before(GateRequest& request, Nanos now) = 0;
  // Called exactly once for every request that passed this gate's before(), also when it was
  // refused by a later one, cancelled, expired or failed.
  virtual void after(const GateRequest& request, RequestEnd end, Nanos now) = 0;
};

// Gates in the order of the path. Does not own them.
class GateChain {
 public:
  explicit GateChain(std::span<RequestGate* const> gates) : gates_(gates) {}
  // Asks those that the request has not passed yet, one after the other; the first that does not
  // accept decides. When it rejects, those passed before get their after() with kRejected and the
  // request has passed none. With any other decision it has passed the one that made it, and the
  // next call goes on behind that one.
  GateDecision before(GateRequest& request, Nanos now) const;
  // In reverse order, for those that were passed. The request may then start anew.
  void after(GateRequest& request, RequestEnd end, Nanos now) const;

 private:
  std::span<RequestGate* const> gates_;
};

}  // namespace pelton
