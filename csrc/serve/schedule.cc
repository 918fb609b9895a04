#include "csrc/serve/schedule.h"

#include <algorithm>

namespace pelton {
namespace {

Placement on_back(const BatchOutlook& batch, int free_ranks) {
  return {.place = Place::kBack, .ranks = std::min(batch.threads, free_ranks)};
}

// The worker has nothing to run.
Placement place_with_free_front(const BatchOutlook& batch, const TeamUse& use, bool back_is_free) {
  const int free_ranks = use.team_size - use.back_ranks;
  const Placement front{.place = Place::kFront, .ranks = std::min(batch.threads, free_ranks)};
  if (!use.others_loaded) return front;
  if (batch.is_long()) {
    if (back_is_free) return on_back(batch, use.team_size - 1);
    // On a team of one there is no back. On a larger one a rank stays free for short batches, if
    // there can be any; a model's first batch tells whether it is long, and must not wait for that.
    const bool is_known = batch.predicted != kUnpredicted;
    if (use.team_size > 1 && is_known && (use.short_others_loaded || use.back_ranks == 0)) {
      return {};
    }
    return {.place = Place::kFront, .ranks = 1, .finely = true};
  }
  // Two at once rather than one after the other.
  const bool pays = batch.predicted >= kHandOverNsMin && batch.threads < use.team_size;
  if (use.short_others_wait && back_is_free && pays) return on_back(batch, use.team_size - 1);
  return front;
}

}  // namespace

bool goes_before(const Contender& a, const Contender& b) {
  if (a.first->level != b.first->level) return a.first->level < b.first->level;
  if (a.served_ns != b.served_ns) return a.served_ns < b.served_ns;
  return MoreUrgent()(*a.first, *b.first);
}

Placement place_batch(const BatchOutlook& batch, const TeamUse& use) {
  const bool back_is_free = use.team_size > 1 && use.back_ranks == 0 && !use.back_is_promised;
  if (use.front == TeamUse::Front::kFree) return place_with_free_front(batch, use, back_is_free);
  const int free_ranks = use.team_size - use.front_ranks;
  const bool pays = batch.is_long() || batch.predicted >= kHandOverNsMin;
  if (back_is_free && free_ranks > 0 && pays) return on_back(batch, free_ranks);
  if (use.front == TeamUse::Front::kYielding && !batch.is_long()) {
    return {.place = Place::kNested};
  }
  return {};
}

}  // namespace pelton
