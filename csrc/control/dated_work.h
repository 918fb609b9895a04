// DatedWork: how much accepted work is due when, coarsely.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "csrc/base/clock.h"
#include "csrc/control/engaged_work.h"

namespace pelton {

// A ring of buckets of kBucketNs from now on, and one for all that is due later. Not thread-safe.
// (Work that is over late shares its bucket with what is due one round of the ring later; it is
// dropped long before that.)
class DatedWork {
 public:
  static constexpr int kBucketBits = 23;  // 8.4 ms
  static constexpr Nanos kBucketNs = Nanos{1} << kBucketBits;
  static constexpr size_t kBuckets = 64;

  // Returns the bucket, for remove().
  int32_t add(const EngagedWork& work, Nanos deadline, Nanos now) {
    const int64_t ahead = (deadline >> kBucketBits) - (now >> kBucketBits);
    const size_t index = ahead < static_cast<int64_t>(kBuckets) ? index_of(deadline) : kBuckets;
    Bucket& bucket = buckets_[index];
    if (bucket.requests++ == 0 || bucket.latest < deadline) bucket.latest = deadline;
    bucket.work.add(work);
    if (index < kBuckets) occupied_ |= uint64_t{1} << index;
    return static_cast<int32_t>(index);
  }
  // REQUIRES: `work` was added to this bucket.
  void remove(const EngagedWork& work, int32_t bucket_index) {
    const auto index = static_cast<size_t>(bucket_index);
    Bucket& bucket = buckets_[index];
    bucket.work.subtract(work);
    if (--bucket.requests == 0 && index < kBuckets) occupied_ &= ~(uint64_t{1} << index);
  }

  // visit(work, latest) for each bucket whose deadlines are all at or before `deadline`, the
  // earliest first; `latest` is the last of them.
  template <typename Visit>
  void visit_until(Nanos deadline, Nanos now, Visit&& visit) const {
    const size_t first = index_of(now);
    uint64_t rotated = std::rotr(occupied_, static_cast<int>(first));
    for (; rotated != 0; rotated &= rotated - 1) {
      const auto offset = static_cast<size_t>(std::countr_zero(rotated));
      const Bucket& bucket = buckets_[(first + offset) % kBuckets];
      if (bucket.latest <= deadline) visit(bucket.work, bucket.latest);
    }
    const Bucket& later = buckets_[kBuckets];
    if (later.requests > 0 && later.latest <= deadline) visit(later.work, later.latest);
  }

 private:
  struct Bucket {
    EngagedWork work;
    int64_t requests = 0;
    Nanos latest = 0;  // not before any of its deadlines, while there are requests
  };
  static size_t index_of(Nanos time) { return static_cast<size_t>(time >> kBucketBits) % kBuckets; }

  std::array<Bucket, kBuckets + 1> buckets_;  // the last one: all that is due later
  uint64_t occupied_ = 0;                     // bit i: bucket i of the ring has requests
};

}  // namespace pelton
