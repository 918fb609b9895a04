#include "csrc/concurrency/cpu_placement.h"

#include <sched.h>

#include <thread>

#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(cpu_placement_moves_a_rank_off_the_cpu_of_a_lower_one) {
  cpu_set_t before;
  ASSERT(sched_getaffinity(0, sizeof(before), &before) == 0);
  if (CPU_COUNT(&before) < 2) SKIP("one CPU");
  std::thread thread([&before] {
    CpuPlacement placement(2);
    bool moved = false;
    // Both ranks are this thread, so rank 1 always clashes. The kernel may move the thread between
    // any two of these lines, but not every time.
    for (int round = 0; round < 20 && !moved; ++round) {
      placement.settle(0);
      const int cpu = sched_getcpu();
      placement.settle(1);
      moved = sched_getcpu() != cpu;
    }
    EXPECT(moved);
    cpu_set_t after;
    EXPECT(sched_getaffinity(0, sizeof(after), &after) == 0);
    EXPECT(CPU_EQUAL(&after, &before));
  });
  thread.join();
}

TEST(cpu_placement_with_one_cpu_changes_nothing) {
  std::thread thread([] {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(static_cast<size_t>(sched_getcpu()), &one);
    EXPECT(sched_setaffinity(0, sizeof(one), &one) == 0);
    CpuPlacement placement(3);
    for (int rank = 0; rank < 3; ++rank) placement.settle(rank);
    cpu_set_t after;
    EXPECT(sched_getaffinity(0, sizeof(after), &after) == 0);
    EXPECT(CPU_EQUAL(&after, &one));
  });
  thread.join();
}

}  // namespace
}  // namespace pelton
