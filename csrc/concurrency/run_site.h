// RunSite: where a batch runs: a lane of the team, how many of its ranks are the batch's, and the
// hook that it calls now and then.
#pragma once

#include "csrc/concurrency/team.h"

namespace pelton {

// Called on the lane's leader, outside barriers, between parts of the work that take up to some
// hundred microseconds each. Costs a few nanoseconds when there is nothing to do; may run another,
// short batch or let other threads have the CPU before it returns.
struct YieldHook {
  void (*call)(void* context) = nullptr;  // nullptr: none
  void* context = nullptr;

  explicit operator bool() const { return call != nullptr; }
  void operator()() const {
    if (call != nullptr) call(context);
  }
};

struct RunSite {
  Lane* lane = nullptr;  // led by the calling thread
  int rank_count = 1;    // that the run may use
  YieldHook yield = {};
  // The hook is what lets others run: parts must be short, also where longer ones were faster.
  bool finely = false;
};

}  // namespace pelton
