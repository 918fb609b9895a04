#include "csrc/concurrency/give_way.h"

#include <sched.h>

#include "csrc/concurrency/time_slice.h"
#include "csrc/concurrency/wait_word.h"

namespace pelton {

void GiveWay::begin() {
  has_slice_ = ask_for_time_slice(kSliceNs);
  offered_ns_ = spin_clock_ns();
}

void GiveWay::end() {
  if (has_slice_) ask_for_time_slice(0);
  has_slice_ = false;
}

bool GiveWay::now_and_then() {
  if (spin_clock_ns() - offered_ns_ < kPeriodNs) return false;
  sched_yield();
  offered_ns_ = spin_clock_ns();  // afterwards: others may have run for long
  return true;
}

}  // namespace pelton
