// Keeps the ranks of a team on CPUs of their own. The kernel may wake two of them on one CPU while
// another idles, and leave them there: they sleep and wake too often for its balancer. Each barrier
// then costs a switch of threads.
#pragma once

#include <atomic>
#include <memory>

namespace pelton {

// The CPU of each rank, as last seen. Thread-safe: each rank calls for itself.
class CpuPlacement {
 public:
  explicit CpuPlacement(int rank_count);
  // Notes where `rank` runs. When a lower rank was last seen on the same CPU, moves the calling
  // thread to another CPU that it may use and that no lower rank is on, if there is one. The
  // thread's affinity is as before when it returns, so that the kernel may still move it.
  void settle(int rank);

 private:
  // Relaxed: a stale value costs a move too many or too few, nothing else.
  const std::unique_ptr<std::atomic<int>[]> cpus_;
};

}  // namespace pelton
