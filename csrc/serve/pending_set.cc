#include "csrc/serve/pending_set.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/serve/priority.h"

namespace pelton {

PendingPool::PendingPool(uint32_t slot_count) : places_(slot_count) {
  Set nodes;
  for (uint32_t i = 0; i < slot_count; ++i) {
    nodes.insert(nodes.end(), PendingRequest{.arrival_number = i});
  }
  free_nodes_.reserve(slot_count);
  while (!nodes.empty()) free_nodes_.push_back(nodes.extract(nodes.begin()));
}

PendingSet::~PendingSet() {
  while (!empty()) erase(begin()->slot);
}

void PendingSet::insert(const PendingRequest& request) {
  PELTON_CHECK(request.slot < pool_->places_.size());
  PELTON_CHECK(pool_->places_[request.slot].owner == nullptr);
  auto node = std::move(pool_->free_nodes_.back());
  pool_->free_nodes_.pop_back();
  node.value() = request;
  // Most requests come last also in this order: constant time then.
  const auto position = requests_.insert(requests_.end(), std::move(node));
  pool_->places_[request.slot] = {position, youngest_, PendingPool::kNone, this};
  (youngest_ == PendingPool::kNone ? oldest_ : pool_->places_[youngest_].younger) = request.slot;
  youngest_ = request.slot;
}

void PendingSet::erase(uint32_t slot) {
  PELTON_CHECK(pool_->places_[slot].owner == this);
  const PendingPool::Place place = std::exchange(pool_->places_[slot], {});
  (place.older == PendingPool::kNone ? oldest_ : pool_->places_[place.older].younger) =
      place.younger;
  (place.younger == PendingPool::kNone ? youngest_ : pool_->places_[place.younger].older) =
      place.older;
  pool_->free_nodes_.push_back(requests_.extract(place.in_order));  // within its capacity
}

const PendingRequest& PendingSet::oldest() const {
  PELTON_CHECK(!empty());
  return *pool_->places_[oldest_].in_order;
}

PendingSet::const_iterator PendingSet::first_of(int level) const {
  const auto first = requests_.lower_bound(
      PendingRequest{.level = level, .deadline = std::numeric_limits<Nanos>::min()});
  return first != end() && first->level == level ? first : end();
}

Nanos PendingSet::earliest_deadline() const {
  Nanos earliest = kNoDeadline;
  for (int level = kLevelFirst; level <= kLevelLast; ++level) {
    const auto first = first_of(level);
    if (first != end()) earliest = std::min(earliest, first->deadline);
  }
  return earliest;
}

PendingSet::const_iterator PendingSet::expired(Nanos now) const {
  for (int level = kLevelFirst; level <= kLevelLast; ++level) {
    const auto first = first_of(level);
    if (first != end() && first->deadline <= now) return first;
  }
  return end();
}

}  // namespace pelton
