#include "csrc/serve/pick_batch.h"

#include <algorithm>

#include "csrc/base/check.h"

namespace pelton {
namespace {

// A batch that grows request by request.
struct Filling {
  const BatchRules& rules;
  std::span<uint32_t> slots;
  BatchPick pick = {};
  Nanos oldest_arrival = kNoDeadline;
  Nanos earliest_deadline = kNoDeadline;

  bool is_full() const {
    return pick.row_count >= rules.rows_max || pick.token_count >= rules.tokens_max;
  }
  bool fits(const PendingRequest& request) const {
    return pick.count == 0 || (pick.row_count + request.row_count <= rules.rows_max &&
                               pick.token_count + request.token_count <= rules.tokens_max);
  }
  void take(const PendingRequest& request) {
    PELTON_CHECK(pick.count < slots.size());
    slots[pick.count++] = request.slot;
    pick.row_count += request.row_count;
    pick.token_count += request.token_count;
    oldest_arrival = std::min(oldest_arrival, request.arrival);
    earliest_deadline = std::min(earliest_deadline, request.deadline);
  }
  // When the batch must run although it could hold more.
  Nanos run_at() const {
    const Nanos waited_out = oldest_arrival + rules.wait_max;
    if (earliest_deadline == kNoDeadline) return waited_out;
    return std::min(waited_out, earliest_deadline - rules.predicted.of(pick.token_count));
  }
};

}  // namespace

BatchPick pick_batch(const PendingSet& pending, const BatchRules& rules, Nanos now,
                     std::span<uint32_t> slots) {
  Filling filling{.rules = rules, .slots = slots};
  const PendingRequest* head = nullptr;
  if (rules.oldest_first && !pending.empty() && pending.oldest().deadline > now) {
    head = &pending.oldest();
    filling.take(*head);
  }
  int passed_over = 0;
  for (const PendingRequest& request : pending) {
    if (filling.is_full() || passed_over == kPassedOverMax) break;
    if (&request == head || request.deadline <= now) continue;
    if (filling.fits(request)) {
      filling.take(request);
    } else {
      ++passed_over;
    }
  }
  const bool may_wait = rules.wait_max > 0 && !filling.is_full() && passed_over == 0;
  if (may_wait && filling.pick.count > 0 && now < filling.run_at()) {
    return {.wait_until = filling.run_at()};
  }
  return filling.pick;
}

}  // namespace pelton
