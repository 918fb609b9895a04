#include "csrc/concurrency/time_slice.h"

#include <sched.h>
#include <sys/resource.h>

#include <cerrno>
#include <thread>

#include "tests/native/test.h"

namespace pelton {
namespace {

int nice_value() {
  errno = 0;
  return getpriority(PRIO_PROCESS, 0);
}

TEST(time_slice_changes_neither_policy_nor_priority) {
  bool asked = false;
  std::thread thread([&] {
    const int policy = sched_getscheduler(0);
    const int nice = nice_value();
    asked = ask_for_time_slice(20'000'000);
    EXPECT_EQ(sched_getscheduler(0), policy);
    EXPECT_EQ(nice_value(), nice);
    EXPECT_EQ(ask_for_time_slice(0), asked);
    EXPECT_EQ(sched_getscheduler(0), policy);
    EXPECT_EQ(nice_value(), nice);
  });
  thread.join();
  if (!asked) SKIP("slices cannot be asked for here");
}

TEST(time_slice_leaves_other_policies_alone) {
  std::thread thread([] {
    const sched_param parameters{};
    // Allowed to everyone.
    if (!EXPECT_EQ(sched_setscheduler(0, SCHED_BATCH, &parameters), 0)) return;
    EXPECT(!ask_for_time_slice(20'000'000));
    EXPECT_EQ(sched_getscheduler(0), SCHED_BATCH);
  });
  thread.join();
}

}  // namespace
}  // namespace pelton
