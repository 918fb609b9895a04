// MpmcRing: a bounded queue for many producers and many consumers (Dmitry Vyukov, "Bounded MPMC
// queue", 1024cores.net), with a pop of many elements at once.
//
// Thread-safe: every method, from any thread, except construction and destruction. First in, first
// out by position. Nothing allocates after construction. Full and empty are answers, never waits.
//
// Not lock-free in the strict sense. A producer that is stopped between winning a position and
// publishing its cell hides the elements behind it from consumers; a consumer that is stopped
// between winning a position and giving its cell back makes the ring look full once producers have
// gone round to that cell, though it holds fewer than capacity() elements. Both windows are a move
// of T and one store.
//
// With one consumer at a time a push never fails for want of a cell while the pushers keep to a
// budget of capacity() elements: each takes a unit (acquire) before it pushes, and the consumer
// gives it back (release) after the pop. For that guarantee the tail is read and moved with acquire
// and release, which costs nothing on x86.
//
// Positions have 64 bits and never come round, so there is no ABA problem.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/concurrency/atomics.h"

namespace pelton {

// T: default-constructible, movable, its moves do not throw.
template <typename T, typename Atomics = StdAtomics>
class MpmcRing {
 public:
  // REQUIRES: capacity is a power of two, at least 2.
  explicit MpmcRing(size_t capacity) : cells_(new Cell[capacity]), mask_(capacity - 1) {
    PELTON_CHECK(capacity >= 2 && (capacity & (capacity - 1)) == 0);
    for (size_t i = 0; i < capacity; ++i) cells_[i].sequence.store(i, std::memory_order_relaxed);
    head_.store(0, std::memory_order_relaxed);
    tail_.store(0, std::memory_order_relaxed);
  }
  MpmcRing(const MpmcRing&) = delete;
  MpmcRing& operator=(const MpmcRing&) = delete;

  size_t capacity() const { return mask_ + 1; }

  // False when the ring is full; `value` is then unchanged.
  [[nodiscard]] bool try_push(T&& value) {
    // Pairs with the release in the exchange below: a producer that sees another's position also
    // sees the cells that were given back before that one pushed.
    uint64_t position = tail_.load(std::memory_order_acquire);
    for (;;) {
      Cell& cell = cells_[position & mask_];
      // Pairs with the release store in pop_many(): the cell's last element has been moved out.
      const uint64_t sequence = cell.sequence.load(std::memory_order_acquire);
      const auto ahead = static_cast<int64_t>(sequence - position);
      if (ahead == 0) {
        if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_acq_rel,
                                        std::memory_order_acquire)) {
          cell.value.put(std::move(value));
          // Pairs with the acquire load in published_from().
          cell.sequence.store(position + 1, std::memory_order_release);
          return true;
        }
      } else if (ahead < 0) {
        return false;
      } else {
        position = tail_.load(std::memory_order_acquire);
      }
    }
  }
  [[nodiscard]] bool try_push(const T& value) {
    T copy = value;
    return try_push(std::move(copy));
  }

  // False when nothing is published at the head.
  [[nodiscard]] bool try_pop(T& value) { return pop_many(&value, 1) == 1; }

  // Moves up to `count_max` published elements to `values`, in order, claimed by one
  // compare-and-swap. Returns how many; 0 when nothing is published at the head.
  [[nodiscard]] size_t pop_many(T* values, size_t count_max) {
    uint64_t position = head_.load(std::memory_order_relaxed);
    for (;;) {
      int64_t ahead = 0;
      const size_t count = published_from(position, std::min(count_max, capacity()), ahead);
      if (count > 0) {
        // The cells stay published until somebody claims them, and whoever does must move the head
        // away from `position` first: a success means that all of them are ours. Relaxed: the
        // position only names the cells; their sequences order what is in them.
        if (head_.compare_exchange_weak(position, position + count, std::memory_order_relaxed,
                                        std::memory_order_relaxed)) {
          for (size_t i = 0; i < count; ++i) {
            Cell& cell = cells_[(position + i) & mask_];
            values[i] = cell.value.take();
            // Pairs with the acquire load in try_push().
            cell.sequence.store(position + i + capacity(), std::memory_order_release);
          }
          return count;
        }
      } else if (ahead < 0 || count_max == 0) {
        return 0;
      } else {
        position = head_.load(std::memory_order_relaxed);
      }
    }
  }

  // How many elements were in the ring at some moment of the call or shortly before: for statistics
  // only.
  size_t approximate_size() const {
    const uint64_t head = head_.load(std::memory_order_relaxed);
    const uint64_t tail = tail_.load(std::memory_order_relaxed);
    return tail > head ? std::min<size_t>(tail - head, capacity()) : 0;
  }

 private:
  struct alignas(kCacheLineBytes) Cell {
    // position: free for the producer of that position; position + 1: published; position +
    // capacity: taken.
    typename Atomics::template Atomic<uint64_t> sequence;
    typename Atomics::template Plain<T> value;
  };

  // How many cells from `position` on are published, up to `count_max`. When none is, `ahead` tells
  // why: below 0 the first is not published yet, above 0 another consumer has taken it.
  size_t published_from(uint64_t position, size_t count_max, int64_t& ahead) {
    size_t count = 0;
    while (count < count_max) {
      // Pairs with the release store in try_push().
      const uint64_t sequence =
          cells_[(position + count) & mask_].sequence.load(std::memory_order_acquire);
      ahead = static_cast<int64_t>(sequence - (position + count + 1));
      if (ahead != 0) break;
      ++count;
    }
    return count;
  }

  const std::unique_ptr<Cell[]> cells_;
  const size_t mask_;
  alignas(kInterferenceBytes) typename Atomics::template Atomic<uint64_t> head_;  // next to pop
  alignas(kInterferenceBytes) typename Atomics::template Atomic<uint64_t> tail_;  // next to push
};

}  // namespace pelton
