// GiveWay: lets a thread that computes for long share its CPU with threads that run for a moment.
//
// Linux (EEVDF) gives a thread that wakes up the CPU at once only while it has had no more of it
// lately than the thread that runs; otherwise the kernel looks again at its next tick, up to 4 ms
// later at 250 Hz. A server and its clients that take half of a CPU a few microseconds at a time
// come into that many times a second. So the thread that computes calls now_and_then() between the
// parts of its work: the kernel looks there, and whoever is waiting waits for a part instead of for
// a tick. Needs no privileges, and lasts no longer than the work: policy and weight stay.
#pragma once

#include <cstdint>

namespace pelton {

// Not thread-safe: the thread's that computes, from begin() to end().
class GiveWay {
 public:
  // How often the CPU is offered. While nobody waits that costs 0.2 us.
  static constexpr int64_t kPeriodNs = 50'000;
  // The time slice that is asked for meanwhile, the shortest that there is: since Linux 6.18 a
  // thread that offers its CPU to others forfeits the rest of its slice.
  static constexpr int64_t kSliceNs = 100'000;

  // The calling thread begins long work.
  void begin();
  // It is over. REQUIRES: the thread that called begin().
  void end();
  // Offers the CPU to whoever waits for it, unless that was done within the last kPeriodNs. Returns
  // whether it was done now.
  bool now_and_then();

 private:
  int64_t offered_ns_ = 0;
  bool has_slice_ = false;
};

}  // namespace pelton
