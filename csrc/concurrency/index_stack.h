// IndexStack: a bounded free list of the numbers [0, capacity), a Treiber stack (R. K. Treiber, IBM
// RJ 5118, 1986) over indices, with a tag against ABA: the tag grows with every push, so a pop that
// slept can only be fooled by exactly 2^32 pushes.
//
// Thread-safe: every method, from any thread. Lock-free: somebody always makes progress. Last in,
// first out, so the number that is handed out is the one whose memory is warmest. Nothing allocates
// after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "csrc/base/check.h"
#include "csrc/concurrency/atomics.h"

namespace pelton {

template <typename Atomics = StdAtomics>
class BasicIndexStack {
 public:
  static constexpr uint32_t kNone = 0xffff'ffff;

  // Starts full: pops give 0, 1, 2, … REQUIRES: 1 <= capacity < kNone.
  explicit BasicIndexStack(uint32_t capacity) : next_(new Link[capacity]) {
    PELTON_CHECK(capacity >= 1 && capacity < kNone);
    for (uint32_t i = 0; i < capacity; ++i) {
      next_[i].store(i + 1 < capacity ? i + 1 : kNone, std::memory_order_relaxed);
    }
    top_.store(pack(0, 0), std::memory_order_relaxed);
  }
  BasicIndexStack(const BasicIndexStack&) = delete;
  BasicIndexStack& operator=(const BasicIndexStack&) = delete;

  // kNone when the stack is empty.
  [[nodiscard]] uint32_t pop() {
    // Pairs with the release in push(): the link below the top, and what its last owner did.
    uint64_t top = top_.load(std::memory_order_acquire);
    for (;;) {
      const uint32_t index = index_of(top);
      if (index == kNone) return kNone;
      // May be stale when another thread has taken `index` meanwhile; then the tag or the index
      // differs and we repeat.
      const uint32_t below = next_[index].load(std::memory_order_relaxed);
      if (top_.compare_exchange_weak(top, pack(tag_of(top), below), std::memory_order_acquire,
                                     std::memory_order_acquire)) {
        return index;
      }
    }
  }

  // REQUIRES: `index` came from pop() and has not been pushed since.
  void push(uint32_t index) {
    uint64_t top = top_.load(std::memory_order_relaxed);
    do {
      next_[index].store(index_of(top), std::memory_order_relaxed);
      // acq_rel, not release: the pops that follow must also see the links pushed before this one,
      // through us.
    } while (!top_.compare_exchange_weak(top, pack(tag_of(top) + 1, index),
                                         std::memory_order_acq_rel, std::memory_order_relaxed));
  }

 private:
  using Link = typename Atomics::template Atomic<uint32_t>;

  static uint64_t pack(uint32_t tag, uint32_t index) { return uint64_t{tag} << 32 | index; }
  static uint32_t tag_of(uint64_t top) { return static_cast<uint32_t>(top >> 32); }
  static uint32_t index_of(uint64_t top) { return static_cast<uint32_t>(top); }

  alignas(kInterferenceBytes)
      typename Atomics::template Atomic<uint64_t> top_;             // tag << 32 | index
  alignas(kInterferenceBytes) const std::unique_ptr<Link[]> next_;  // [i]: what lies below i
};

using IndexStack = BasicIndexStack<StdAtomics>;

}  // namespace pelton
