// One connection of the load generator and the request that is in flight on it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "bench/server/loadgen/reply_reader.h"

namespace pelton::bench {

// What the client means to do with a request: wait for its answer, or leave before.
enum class Leave { kNever, kHalfSent, kAtOnce, kLater };

struct Connection {
  int fd = -1;
  bool in_flight = false;
  bool wants_write = false;  // EPOLLOUT is registered
  Leave leave = Leave::kNever;
  std::string_view unsent;  // the rest of the request's bytes
  int64_t due_ns = 0;       // when it was to be sent
  int64_t number = 0;       // of the request, of all that were started
  int64_t answers = 0;      // on this connection
  ReplyReader reply;
};

}  // namespace pelton::bench
