#include "csrc/concurrency/cpu_placement.h"

#include <sched.h>

namespace pelton {

CpuPlacement::CpuPlacement(int rank_count)
    : cpus_(new std::atomic<int>[static_cast<size_t>(rank_count)]) {
  for (int rank = 0; rank < rank_count; ++rank) {
    cpus_[static_cast<size_t>(rank)].store(-1, std::memory_order_relaxed);
  }
}

void CpuPlacement::settle(int rank) {
  std::atomic<int>& mine = cpus_[static_cast<size_t>(rank)];
  const int cpu = sched_getcpu();
  mine.store(cpu, std::memory_order_relaxed);
  bool clash = false;
  for (int lower = 0; lower < rank; ++lower) {
    clash |= cpus_[static_cast<size_t>(lower)].load(std::memory_order_relaxed) == cpu;
  }
  if (!clash || cpu < 0) return;
  cpu_set_t allowed;
  // Fails on machines with more CPUs than a cpu_set_t holds: then the kernel's choice stands.
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0) return;
  cpu_set_t wanted = allowed;
  for (int lower = 0; lower < rank; ++lower) {
    const int taken = cpus_[static_cast<size_t>(lower)].load(std::memory_order_relaxed);
    if (taken >= 0 && taken < CPU_SETSIZE) CPU_CLR(static_cast<size_t>(taken), &wanted);
  }
  if (CPU_COUNT(&wanted) == 0 || sched_setaffinity(0, sizeof(wanted), &wanted) != 0) return;
  sched_setaffinity(0, sizeof(allowed), &allowed);
  mine.store(sched_getcpu(), std::memory_order_relaxed);
}

}  // namespace pelton
