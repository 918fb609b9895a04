// Requests for tests of the gates.
#pragma once

#include "csrc/control/request_gate.h"

namespace pelton {

constexpr Nanos kMilli = 1'000'000;

inline GateRequest request_of(int64_t rows, Nanos deadline = kNoDeadline, int priority = 2) {
  GateRequest request;
  request.row_count = request.token_count = rows;
  request.deadline = deadline;
  request.priority = priority;
  return request;
}

inline bool is_accepted(const GateDecision& decision) {
  return decision.kind == GateDecision::Kind::kAccept;
}

// A batch that ran from `started` on, its requests queued at that moment.
inline BatchRun batch_of(int64_t tokens, Nanos started, Nanos run_ns) {
  return {.queued = started,
          .started = started,
          .ended = started + run_ns,
          .rows = tokens,
          .tokens = tokens};
}

}  // namespace pelton
