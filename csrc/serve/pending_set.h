// PendingSet: the requests of one model that wait for a batch, in the order in which batches take
// them. Used by the engine's worker alone: not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "csrc/base/clock.h"
#include "csrc/serve/priority.h"

namespace pelton {

// What batch formation knows about a request.
struct PendingRequest {
  int level = kLevelDefault;     // 1 (most urgent) to 4
  Nanos deadline = kNoDeadline;  // absolute
  uint64_t arrival_number =
      0;  // unique: counts the requests of an engine in the order in which they were queued
  Nanos arrival = 0;
  uint32_t slot = 0;  // where the engine keeps it
  int64_t row_count = 0;
  int64_t token_count = 0;
};

// Level, then deadline, then arrival.
struct MoreUrgent {
  bool operator()(const PendingRequest& a, const PendingRequest& b) const {
    if (a.level != b.level) return a.level < b.level;
    if (a.deadline != b.deadline) return a.deadline < b.deadline;
    return a.arrival_number < b.arrival_number;
  }
};

// Nodes for all the PendingSets of an engine, so that they never allocate.
class PendingSet;
class PendingPool {
 public:
  // For at most `slot_count` requests at a time; slots are [0, slot_count).
  explicit PendingPool(uint32_t slot_count);
  // Whether the slot is in any set of the pool.
  bool contains(uint32_t slot) const { return places_[slot].owner != nullptr; }

 private:
  friend class PendingSet;
  using Set = std::set<PendingRequest, MoreUrgent>;
  static constexpr uint32_t kNone = 0xffff'ffff;
  struct Place {
    Set::iterator in_order;
    uint32_t older = kNone;
    uint32_t younger = kNone;
    const PendingSet* owner = nullptr;  // the set that the slot is in
  };
  std::vector<Set::node_type> free_nodes_;
  std::vector<Place> places_;  // by slot
};

class PendingSet {
 public:
  using const_iterator = std::set<PendingRequest, MoreUrgent>::const_iterator;

  // The pool must outlive the set.
  explicit PendingSet(PendingPool& pool) : pool_(&pool) {}
  ~PendingSet();
  PendingSet(const PendingSet&) = delete;
  PendingSet& operator=(const PendingSet&) = delete;

  // REQUIRES: the slot is in no set of the pool; arrival numbers grow from insert to insert.
  void insert(const PendingRequest& request);
  // REQUIRES: the slot is in this set.
  void erase(uint32_t slot);

  bool empty() const { return requests_.empty(); }
  size_t size() const { return requests_.size(); }
  // In the order of MoreUrgent.
  const_iterator begin() const { return requests_.begin(); }
  const_iterator end() const { return requests_.end(); }
  // The request that arrived first. REQUIRES: !empty().
  const PendingRequest& oldest() const;
  // The earliest deadline of all; kNoDeadline when none has one. Logarithmic.
  Nanos earliest_deadline() const;
  // A request whose deadline is not after `now`, or end(). Logarithmic.
  const_iterator expired(Nanos now) const;

 private:
  // The first request of a level, or end().
  const_iterator first_of(int level) const;

  PendingPool* pool_;
  std::set<PendingRequest, MoreUrgent> requests_;
  uint32_t oldest_ = PendingPool::kNone;
  uint32_t youngest_ = PendingPool::kNone;
};

}  // namespace pelton
