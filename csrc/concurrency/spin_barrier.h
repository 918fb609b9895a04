// SpinBarrier: where the threads of a team meet. A dissemination barrier (Hensgen, Finkel, Manber
// 1988; Mellor-Crummey and Scott 1991): in round k, rank r tells rank r + 2^k and waits for rank r
// - 2^k, so that two threads need one hand-over and n need ceil(log2 n). Each flag has a line of
// its own, one writer and one waiter. Instead of a sense bit the flags carry the number of the
// meeting, so they need no reset between meetings.
//
// A rank that waits longer than spin_ns_max sleeps until its peer arrives, and spins but shortly
// for the rest of the run: its peer has no CPU of its own at the moment, perhaps because the
// spinning takes it.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>

#include "csrc/base/check.h"
#include "csrc/concurrency/wait_word.h"

namespace pelton {

template <typename Atomics = StdAtomics>
class BasicSpinBarrier {
 public:
  // REQUIRES: rank_count_max >= 1.
  BasicSpinBarrier(int rank_count_max, const SpinLimits& limits)
      : rank_count_max_(rank_count_max),
        round_count_max_(rounds_of(rank_count_max)),
        limits_(limits),
        hurried_limits_{std::min(limits.spin_ns_max, kHurriedSpinNsMax)},
        meetings_(new Meeting[static_cast<size_t>(rank_count_max)]),
        flags_(new Flag[static_cast<size_t>(rank_count_max) *
                        static_cast<size_t>(round_count_max_ + 1)]) {
    reset(rank_count_max);
  }
  BasicSpinBarrier(const BasicSpinBarrier&) = delete;
  BasicSpinBarrier& operator=(const BasicSpinBarrier&) = delete;

  // From now on ranks [0, rank_count) meet. REQUIRES: 1 <= rank_count <= rank_count_max; no rank is
  // in the barrier, and the ranks see this call (the caller hands over to them afterwards).
  void reset(int rank_count) {
    PELTON_CHECK(rank_count >= 1 && rank_count <= rank_count_max_);
    rank_count_ = rank_count;
    round_count_ = rounds_of(rank_count);
    for (int rank = 0; rank < rank_count; ++rank) {
      meetings_[rank].number = 0;
      for (int round = 0; round < round_count_; ++round) flag(rank, round).reset();
    }
  }
  int rank_count() const { return rank_count_; }

  // A run begins: this rank is patient again. Thread-safe: by one thread per rank.
  void begin(int rank) { meetings_[rank].hurried = false; }

  // Returns when every rank has called it as often as this one. What any rank wrote before is
  // visible to all after. Thread-safe: by one thread per rank.
  void arrive_and_wait(int rank) {
    const uint32_t number = (meetings_[rank].number + 1) & BasicWaitWord<Atomics>::kMask;
    meetings_[rank].number = number;
    for (int round = 0; round < round_count_; ++round) {
      const int distance = 1 << round;
      int peer = rank + distance;
      if (peer >= rank_count_) peer -= rank_count_;
      flag(peer, round).publish(number);
      // The writer of our flag may already be one meeting ahead, never two: it cannot leave the
      // next one without us.
      BasicWaitWord<Atomics>& word = flag(rank, round);
      bool& hurried = meetings_[rank].hurried;
      if (word.spin_for(number, hurried ? hurried_limits_ : limits_)) continue;
      hurried = true;
      word.wait_for(number, SpinLimits{});
    }
  }

 private:
  struct alignas(kCacheLineBytes) Flag {
    BasicWaitWord<Atomics> word;
  };
  struct alignas(kCacheLineBytes) Meeting {
    uint32_t number = 0;   // touched by its rank only
    bool hurried = false;  // likewise: it had to sleep in this run
  };

  static constexpr int64_t kHurriedSpinNsMax = 5'000;

  static int rounds_of(int rank_count) {
    return static_cast<int>(std::bit_width(static_cast<unsigned>(rank_count - 1)));
  }
  BasicWaitWord<Atomics>& flag(int rank, int round) {
    return flags_[rank * round_count_max_ + round].word;
  }

  const int rank_count_max_;
  const int round_count_max_;
  const SpinLimits limits_;
  const SpinLimits hurried_limits_;
  int rank_count_ = 1;
  int round_count_ = 0;
  const std::unique_ptr<Meeting[]> meetings_;
  const std::unique_ptr<Flag[]> flags_;
};

using SpinBarrier = BasicSpinBarrier<StdAtomics>;

}  // namespace pelton
