// SlotState: the life of one request slot, one word.
//
//   free -> queued -> claimed -> free            it ran
//              |         +-----> dropped -> free    cancelled while it ran: the result is dropped
//              +-> cancelled -> free             cancelled before it ran
//
// The word carries the slot's generation, so a ticket of an earlier request in the same slot
// changes nothing. Owner means: the submitter from open() until the ticket is queued, then the
// worker.
#pragma once

#include <cstdint>

#include "csrc/concurrency/atomics.h"

namespace pelton {

// Thread-safe: cancel() from any thread at any time; the rest from the owner.
template <typename Atomics = StdAtomics>
class BasicSlotState {
 public:
  BasicSlotState() { word_.store(kFree, std::memory_order_relaxed); }
  BasicSlotState(const BasicSlotState&) = delete;
  BasicSlotState& operator=(const BasicSlotState&) = delete;

  // free -> queued; returns the generation of the new request, never 0.
  uint32_t open() {
    uint32_t generation = generation_of(word_.load(std::memory_order_relaxed)) + 1;
    if (generation == 0) generation = 1;
    // No release: the queue publishes the ticket together with the slot's contents.
    word_.store(pack(generation, kQueued), std::memory_order_relaxed);
    return generation;
  }

  // queued -> claimed. False: it was cancelled.
  [[nodiscard]] bool claim(uint32_t generation) {
    return change(pack(generation, kQueued), pack(generation, kClaimed));
  }

  // claimed, dropped or cancelled -> free. False: it was cancelled in time.
  [[nodiscard]] bool finish(uint32_t generation) {
    if (change(pack(generation, kClaimed), pack(generation, kFree))) return true;
    word_.store(pack(generation, kFree), std::memory_order_relaxed);
    return false;
  }

  // Whether the request was cancelled before it was claimed. By the owner only.
  bool is_cancelled(uint32_t generation) const {
    return word_.load(std::memory_order_acquire) == pack(generation, kCancelled);
  }

  // What cancel() did: kQueued and kClaimed name the phase it took the request out of.
  enum class Cancelled { kTooLate, kQueued, kClaimed, kBefore };
  // queued -> cancelled, claimed -> dropped. kTooLate: the request is over, or never was; kBefore:
  // it had been cancelled already. Otherwise its owner will see it: claim() or finish() returns
  // false.
  Cancelled cancel(uint32_t generation) {
    uint64_t word = word_.load(std::memory_order_acquire);
    for (;;) {
      if (generation_of(word) != generation) return Cancelled::kTooLate;
      const uint32_t phase = phase_of(word);
      if (phase == kCancelled || phase == kDropped) return Cancelled::kBefore;
      if (phase == kFree) return Cancelled::kTooLate;
      const bool queued = phase == kQueued;
      // One exchange decides against claim() and finish(): exactly one of the two sides succeeds.
      if (word_.compare_exchange_weak(word, pack(generation, queued ? kCancelled : kDropped),
                                      std::memory_order_acq_rel, std::memory_order_acquire)) {
        return queued ? Cancelled::kQueued : Cancelled::kClaimed;
      }
    }
  }

 private:
  static constexpr uint32_t kFree = 0;
  static constexpr uint32_t kQueued = 1;
  static constexpr uint32_t kClaimed = 2;
  static constexpr uint32_t kCancelled = 3;
  static constexpr uint32_t kDropped = 4;

  static uint64_t pack(uint32_t generation, uint32_t phase) {
    return uint64_t{generation} << 32 | phase;
  }
  static uint32_t generation_of(uint64_t word) { return static_cast<uint32_t>(word >> 32); }
  static uint32_t phase_of(uint64_t word) { return static_cast<uint32_t>(word); }

  bool change(uint64_t from, uint64_t to) {
    return word_.compare_exchange_strong(from, to, std::memory_order_acq_rel,
                                         std::memory_order_acquire);
  }

  typename Atomics::template Atomic<uint64_t> word_;  // generation << 32 | phase
};

using SlotState = BasicSlotState<StdAtomics>;

}  // namespace pelton
