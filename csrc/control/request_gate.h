// RequestGate: the one interface of everything that decides about a request before it runs, and
// learns how it ended. Admission, router, cache and limiter are gates at their places in the path.
#pragma once

#include <cstdint>
#include <span>

#include "csrc/base/clock.h"
#include "csrc/base/problem.h"

namespace pelton {

// What gates know of a request. A value of the caller's, the same object in before() and after().
struct GateRequest {
  int64_t row_count = 0;
  int64_t token_count = 0;
  int64_t body_bytes = 0;
  Nanos arrival = 0;
  Nanos deadline = kNoDeadline;
  int priority = 2;
  // Of the whole batch it ran in, filled before after(); 0 when it did not run.
  Nanos batch_ns = 0;
  int64_t batch_rows = 0;
  int64_t batch_tokens = 0;
  uint32_t passed = 0;  // the chain's own: how many gates it passed
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
  virtual GateDecision before(GateRequest& request, Nanos now) = 0;
  // Called exactly once for every request that passed this gate's before(), also when it was
  // refused by a later one, cancelled, expired or failed.
  virtual void after(const GateRequest& request, RequestEnd end, Nanos now) = 0;
};

// Gates in the order of the path. Does not own them.
class GateChain {
 public:
  explicit GateChain(std::span<RequestGate* const> gates) : gates_(gates) {}
  // Asks one after the other; the first that does not accept decides, and those passed before get
  // their after() with kRejected when it rejects.
  GateDecision before(GateRequest& request, Nanos now) const;
  // In reverse order, for those that were passed.
  void after(const GateRequest& request, RequestEnd end, Nanos now) const;

 private:
  std::span<RequestGate* const> gates_;
};

}  // namespace pelton
