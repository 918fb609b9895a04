#include "csrc/exec/memory_plan.h"

#include <algorithm>
#include <numeric>

namespace pelton {
namespace {

int64_t slot_bytes(const Lifetime& lifetime) { return (lifetime.row_bytes + 63) / 64 * 64; }

bool share_a_step(const Lifetime& a, const Lifetime& b) {
  return a.first_step <= b.last_step && b.first_step <= a.last_step;
}

// The lowest offset at which `bytes` fit between the taken [offset, end) ranges, which are sorted.
int64_t lowest_gap(std::span<const std::pair<int64_t, int64_t>> taken, int64_t bytes) {
  int64_t offset = 0;
  for (const auto& [begin, end] : taken) {
    if (offset + bytes <= begin) break;
    offset = std::max(offset, end);
  }
  return offset;
}

}  // namespace

MemoryPlan plan_memory(std::span<const Lifetime> lifetimes) {
  std::vector<size_t> order(lifetimes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return lifetimes[a].row_bytes > lifetimes[b].row_bytes;
  });
  MemoryPlan plan;
  plan.offsets.assign(lifetimes.size(), 0);
  std::vector<size_t> placed;
  std::vector<std::pair<int64_t, int64_t>> taken;
  for (const size_t index : order) {
    taken.clear();
    for (const size_t other : placed) {
      if (!share_a_step(lifetimes[index], lifetimes[other])) continue;
      taken.emplace_back(plan.offsets[other], plan.offsets[other] + slot_bytes(lifetimes[other]));
    }
    std::sort(taken.begin(), taken.end());
    const int64_t bytes = slot_bytes(lifetimes[index]);
    plan.offsets[index] = lowest_gap(taken, bytes);
    plan.row_bytes = std::max(plan.row_bytes, plan.offsets[index] + bytes);
    placed.push_back(index);
  }
  return plan;
}

}  // namespace pelton
