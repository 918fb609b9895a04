// DeadlineHeap: which jobs are due, the earliest first. A job that is over stays in it until its
// time or until the heap is swept, which happens when half of it is over.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "csrc/base/clock.h"

namespace pelton {

struct Job;

// Not thread-safe.
class DeadlineHeap {
 public:
  struct Entry {
    Nanos deadline;
    uint64_t number;  // of the job when it was added
    Job* job;
  };

  // `is_over(entry)` says which entries may be forgotten.
  template <typename IsOver>
  void add(const Entry& entry, IsOver is_over) {
    if (entries_.size() >= swept_at_) {
      std::erase_if(entries_, is_over);
      std::make_heap(entries_.begin(), entries_.end(), later);
      swept_at_ = std::max<size_t>(2 * entries_.size(), kSweptMin);
    }
    entries_.push_back(entry);
    std::push_heap(entries_.begin(), entries_.end(), later);
  }
  // kNoDeadline: none.
  Nanos earliest() const { return entries_.empty() ? kNoDeadline : entries_.front().deadline; }
  // REQUIRES: not empty.
  Entry take() {
    std::pop_heap(entries_.begin(), entries_.end(), later);
    const Entry entry = entries_.back();
    entries_.pop_back();
    return entry;
  }

 private:
  static constexpr size_t kSweptMin = 1024;
  static bool later(const Entry& a, const Entry& b) { return a.deadline > b.deadline; }

  std::vector<Entry> entries_;
  size_t swept_at_ = kSweptMin;
};

}  // namespace pelton
