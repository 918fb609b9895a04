#include "csrc/concurrency/counters.h"

#include <cmath>

#include "csrc/concurrency/index_stack.h"

namespace pelton {
namespace {

// Never destroyed: threads may end after the statics are gone.
IndexStack& own_slots() {
  static IndexStack& slots = *new IndexStack(kThreadSlotCount - 1);
  return slots;
}

// The release and acquire of the stack hand a slot's counts over to the next thread.
struct ThreadSlot {
  ThreadSlot() : index(own_slots().pop()) {}
  ~ThreadSlot() {
    if (index != IndexStack::kNone) own_slots().push(index);
  }
  const uint32_t index;
};

}  // namespace

int thread_slot() {
  thread_local const ThreadSlot slot;
  return slot.index == IndexStack::kNone ? kThreadSlotCount - 1 : static_cast<int>(slot.index);
}

uint64_t HistogramSnapshot::count_at_most(uint64_t bound) const {
  uint64_t total = 0;
  for (size_t i = 0; i < buckets.size() && histogram_bucket_max(i) <= bound; ++i) {
    total += buckets[i];
  }
  return total;
}

uint64_t HistogramSnapshot::quantile(double q) const {
  if (count == 0) return 0;
  const auto rank =
      std::max<uint64_t>(1, static_cast<uint64_t>(std::ceil(q * static_cast<double>(count))));
  uint64_t seen = 0;
  for (size_t i = 0; i < buckets.size(); ++i) {
    seen += buckets[i];
    if (seen >= rank) return histogram_bucket_max(i);
  }
  return histogram_bucket_max(buckets.size() - 1);
}

void HistogramSnapshot::merge(const HistogramSnapshot& other) {
  for (size_t i = 0; i < buckets.size(); ++i) buckets[i] += other.buckets[i];
  count += other.count;
  sum += other.sum;
}

HistogramSnapshot Histogram::snapshot() const {
  HistogramSnapshot result;
  for (size_t i = 0; i < buckets_.size(); ++i) {
    result.buckets[i] = buckets_[i].load(std::memory_order_relaxed);
    result.count += result.buckets[i];
  }
  result.sum = sum_.load(std::memory_order_relaxed);
  return result;
}

}  // namespace pelton
