#include "csrc/concurrency/give_way.h"

#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <thread>

#include "csrc/concurrency/wait_word.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr int64_t kPatienceNs = 60'000'000'000;

// Of the calling thread, as the kernel tells it; 0: it does not.
uint64_t time_slice_ns() {
  constexpr size_t kRuntimeAt = 24;  // in struct sched_attr (linux/sched/types.h)
  std::array<char, 56> attributes{};
  if (syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0) != 0) return 0;
  uint64_t runtime = 0;
  std::memcpy(&runtime, attributes.data() + kRuntimeAt, sizeof(runtime));
  return runtime;
}

TEST(give_way_asks_for_the_shortest_slice_while_it_lasts) {
  bool told = false;
  std::thread thread([&told] {
    const uint64_t before = time_slice_ns();
    told = before != 0;
    if (!told) return;
    GiveWay gives_way;
    for (int work = 0; work < 2; ++work) {
      gives_way.begin();
      EXPECT_EQ(time_slice_ns(), static_cast<uint64_t>(GiveWay::kSliceNs));
      gives_way.end();
      EXPECT_EQ(time_slice_ns(), before);
    }
    EXPECT_EQ(sched_getscheduler(0), SCHED_OTHER);
  });
  thread.join();
  if (!told) SKIP("this kernel does not tell slices");
}

TEST(give_way_offers_the_cpu_once_in_a_period) {
  GiveWay gives_way;
  const int64_t begin_ns = spin_clock_ns();
  gives_way.begin();
  int64_t calls = 0;
  for (int64_t offers = 0; offers < 20; ++calls) {
    if (!gives_way.now_and_then()) continue;
    ++offers;
    EXPECT(spin_clock_ns() - begin_ns >= offers * GiveWay::kPeriodNs);
    if (!EXPECT(spin_clock_ns() - begin_ns < kPatienceNs)) break;
  }
  gives_way.end();
  EXPECT(calls > 20);  // most calls do nothing
}

}  // namespace
}  // namespace pelton
