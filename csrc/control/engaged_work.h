// The part of a request that is with the engine at a time: a larger one comes in pieces.
#pragma once

#include <algorithm>
#include <cstdint>

#include "csrc/control/request_gate.h"

namespace pelton {

struct EngagedWork {
  int64_t rows = 0;
  int64_t tokens = 0;

  void add(const EngagedWork& other) {
    rows += other.rows;
    tokens += other.tokens;
  }
  void subtract(const EngagedWork& other) {
    rows -= other.rows;
    tokens -= other.tokens;
  }
  // Moves as much of `other` as there is room for out of both.
  void take_from(EngagedWork& other) {
    const EngagedWork taken = {std::min(rows, other.rows), std::min(tokens, other.tokens)};
    subtract(taken);
    other.subtract(taken);
  }
};

// At most `rows_max` rows of the request, with as many of its tokens. REQUIRES: rows_max >= 1.
inline EngagedWork engaged_work(const GateRequest& request, int64_t rows_max) {
  if (request.row_count <= rows_max) return {request.row_count, request.token_count};
  const double share = static_cast<double>(rows_max) / static_cast<double>(request.row_count);
  return {rows_max, static_cast<int64_t>(static_cast<double>(request.token_count) * share)};
}

}  // namespace pelton
