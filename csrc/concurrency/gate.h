// Gate: counts who is inside and can be closed to new ones; the last one out of a closed gate is
// told so. For taking something away that others may be using.
#pragma once

#include <cstdint>

#include "csrc/concurrency/atomics.h"

namespace pelton {

// Thread-safe: every method. Starts closed.
template <typename Atomics = StdAtomics>
class BasicGate {
 public:
  BasicGate() { word_.store(kClosed, std::memory_order_relaxed); }
  BasicGate(const BasicGate&) = delete;
  BasicGate& operator=(const BasicGate&) = delete;

  // What was written before open() is visible to everyone who enters. REQUIRES: is_deserted().
  void open() { word_.fetch_sub(kClosed, std::memory_order_release); }
  // Nobody enters from now on. REQUIRES: one thread at a time opens and closes.
  void close() {
    if (!is_closed()) word_.fetch_add(kClosed, std::memory_order_acq_rel);
  }
  bool is_closed() const { return (word_.load(std::memory_order_acquire) & kClosed) != 0; }
  // Closed, and everyone who was inside has left: what they did is visible.
  bool is_deserted() const { return word_.load(std::memory_order_acquire) == kClosed; }

  enum class Entry { kEntered, kRefused, kRefusedLastOut };
  // kRefused*: the gate is closed. kRefusedLastOut: and, like leave() returning true, the caller
  // was the last one out.
  [[nodiscard]] Entry enter() {
    if (is_closed()) return Entry::kRefused;
    // Counts first and looks at the bit in the same word: close() cannot come between.
    if ((word_.fetch_add(kOne, std::memory_order_acquire) & kClosed) == 0) return Entry::kEntered;
    return leave(1) ? Entry::kRefusedLastOut : Entry::kRefused;
  }
  // True when the gate is closed and now deserted: the caller must tell who waits for that. This
  // may be the last access to the object.
  [[nodiscard]] bool leave(uint64_t count) {
    return word_.fetch_sub(count * kOne, std::memory_order_acq_rel) - count * kOne == kClosed;
  }

 private:
  static constexpr uint64_t kClosed = 1;
  static constexpr uint64_t kOne = 2;

  typename Atomics::template Atomic<uint64_t> word_;  // inside << 1 | closed
};

using Gate = BasicGate<StdAtomics>;

}  // namespace pelton
