// Time as an argument: logic takes a Clock& (or `now`), never steady_clock::now(). Nanoseconds of
// CLOCK_MONOTONIC, the same origin as Python's time.monotonic_ns(), so deadlines cross the language
// border unchanged.
#pragma once

#include <cstdint>
#include <limits>

namespace pelton {

using Nanos = int64_t;
constexpr Nanos kNoDeadline = std::numeric_limits<Nanos>::max();

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Nanos now() const = 0;
};

class MonotonicClock final : public Clock {
 public:
  Nanos now() const override;
};

}  // namespace pelton
