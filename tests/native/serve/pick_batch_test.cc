#include "csrc/serve/pick_batch.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "csrc/serve/batch_time_estimate.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

using Requests = std::vector<PendingRequest>;

struct Expected {
  std::vector<uint32_t> slots;
  Nanos wait_until = kNoDeadline;
  bool operator==(const Expected&) const = default;
};

// The rules of pick_batch.h once more, over a plain list.
Expected oracle(Requests requests, const BatchRules& rules, Nanos now) {
  if (requests.empty()) return {};
  const PendingRequest oldest = *std::min_element(
      requests.begin(), requests.end(),
      [](const auto& a, const auto& b) { return a.arrival_number < b.arrival_number; });
  std::sort(requests.begin(), requests.end(), MoreUrgent());
  std::erase_if(requests, [&](const PendingRequest& r) { return r.deadline <= now; });
  if (rules.oldest_first && oldest.deadline > now) {
    std::erase_if(requests, [&](const PendingRequest& r) { return r.slot == oldest.slot; });
    requests.insert(requests.begin(), oldest);
  }
  Expected expected;
  int64_t rows = 0;
  int64_t tokens = 0;
  int passed_over = 0;
  Nanos first_arrival = kNoDeadline;
  Nanos first_deadline = kNoDeadline;
  for (const PendingRequest& r : requests) {
    const bool full = rows >= rules.rows_max || tokens >= rules.tokens_max;
    if (full || passed_over >= kPassedOverMax) break;
    const bool fits =
        rows + r.row_count <= rules.rows_max && tokens + r.token_count <= rules.tokens_max;
    if (!fits && !expected.slots.empty()) {
      ++passed_over;
      continue;
    }
    expected.slots.push_back(r.slot);
    rows += r.row_count;
    tokens += r.token_count;
    first_arrival = std::min(first_arrival, r.arrival);
    first_deadline = std::min(first_deadline, r.deadline);
  }
  if (expected.slots.empty() || rules.wait_max == 0) return expected;
  if (rows >= rules.rows_max || tokens >= rules.tokens_max || passed_over > 0) return expected;
  Nanos run_at = first_arrival + rules.wait_max;
  if (first_deadline != kNoDeadline) {
    run_at = std::min(run_at, first_deadline - rules.predicted.of(tokens));
  }
  if (run_at <= now) return expected;
  return {{}, run_at};
}

std::string describe(const Requests& requests, const BatchRules& rules, Nanos now) {
  std::string text = "now " + std::to_string(now) + " rows_max " + std::to_string(rules.rows_max) +
                     " tokens_max " + std::to_string(rules.tokens_max) + " wait_max " +
                     std::to_string(rules.wait_max) + (rules.oldest_first ? " oldest first" : "");
  for (const PendingRequest& r : requests) {
    text += " | level " + std::to_string(r.level) + " deadline " + std::to_string(r.deadline) +
            " rows " + std::to_string(r.row_count) + " tokens " + std::to_string(r.token_count);
  }
  return text;
}

// Compares with the oracle, and with what any answer must satisfy.
bool agrees(PendingPool& pool, const Requests& requests, const BatchRules& rules, Nanos now) {
  PendingSet pending(pool);
  for (const PendingRequest& request : requests) pending.insert(request);
  std::vector<uint32_t> slots(requests.size() + 1);
  const BatchPick pick = pick_batch(pending, rules, now, slots);
  slots.resize(pick.count);
  const Expected expected = oracle(requests, rules, now);
  bool good = expected == Expected{slots, pick.wait_until};
  int64_t rows = 0;
  int64_t tokens = 0;
  for (const uint32_t slot : slots) {
    const auto request = std::find_if(requests.begin(), requests.end(),
                                      [&](const PendingRequest& r) { return r.slot == slot; });
    good = good && request != requests.end() && request->deadline > now;
    rows += request->row_count;
    tokens += request->token_count;
  }
  good = good && rows == pick.row_count && tokens == pick.token_count;
  if (pick.count > 1) good = good && rows <= rules.rows_max && tokens <= rules.tokens_max;
  const bool any_live = std::any_of(requests.begin(), requests.end(),
                                    [&](const PendingRequest& r) { return r.deadline > now; });
  if (rules.wait_max == 0) good = good && (pick.count > 0) == any_live;  // work-conserving
  if (!good) {
    testing::fail(__FILE__, __LINE__,
                  describe(requests, rules, now) + ": picked " + testing::show(slots) + " until " +
                      std::to_string(pick.wait_until) + ", expected " +
                      testing::show(expected.slots) + " until " +
                      std::to_string(expected.wait_until));
  }
  return good;
}

constexpr Nanos kNow = 100;

// Every kind of request that matters at small sizes.
Requests kinds() {
  Requests all;
  for (const int level : {1, 3}) {
    for (const Nanos deadline : {kNow, kNow + 3, kNoDeadline}) {
      for (const int64_t rows : {1, 2, 5}) {
        for (const int64_t per_row : {1, 3}) {
          all.push_back({.level = level,
                         .deadline = deadline,
                         .row_count = rows,
                         .token_count = rows * per_row});
        }
      }
    }
  }
  return all;
}

std::vector<BatchRules> rule_sets() {
  std::vector<BatchRules> all;
  for (const int64_t rows_max : {1, 3, 4}) {
    for (const int64_t tokens_max : {2, 6, 100}) {
      for (const Nanos wait_max : {0, 2, 50}) {
        for (const bool oldest_first : {false, true}) {
          all.push_back({.rows_max = rows_max,
                         .tokens_max = tokens_max,
                         .wait_max = wait_max,
                         .predicted = {.fixed_ns = 1, .token_ns = 0.5},
                         .oldest_first = oldest_first});
        }
      }
    }
  }
  return all;
}

TEST(pick_batch_agrees_with_the_oracle_on_every_small_case) {
  const Requests all = kinds();
  const std::vector<BatchRules> rules = rule_sets();
  PendingPool pool(4);
  size_t cases = 0;
  for (size_t a = 0; a < all.size(); ++a) {
    for (size_t b = 0; b <= all.size(); ++b) {
      // The third kind in steps: with every one of them the test would take minutes under
      // sanitizers.
      for (size_t c = (a + b) % 5; c <= all.size(); c += 5) {
        Requests requests{all[a]};
        if (b < all.size()) requests.push_back(all[b]);
        if (c < all.size()) requests.push_back(all[c]);
        for (size_t i = 0; i < requests.size(); ++i) {
          requests[i].slot = static_cast<uint32_t>(3 - i);
          requests[i].arrival_number = i;
          requests[i].arrival = kNow - 10 + static_cast<Nanos>(5 * i);
        }
        for (const BatchRules& rule : rules) {
          ++cases;
          if (!agrees(pool, requests, rule, kNow)) return;
        }
      }
    }
  }
  testing::note(std::to_string(cases) + " cases");
}

TEST(pick_batch_agrees_with_the_oracle_on_random_sets) {
  std::mt19937_64 random(testing::seed());
  PendingPool pool(64);
  for (int round = 0; round < 20'000; ++round) {
    Requests requests(random() % 64);
    const int64_t rows_most = 1 + static_cast<int64_t>(random() % 8);
    for (size_t i = 0; i < requests.size(); ++i) {
      PendingRequest& r = requests[i];
      r.level = 1 + static_cast<int>(random() % 4);
      r.deadline = random() % 2 == 0 ? kNoDeadline : kNow - 2 + static_cast<Nanos>(random() % 30);
      r.row_count = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(rows_most));
      r.token_count = r.row_count * (1 + static_cast<int64_t>(random() % 9));
      r.slot = static_cast<uint32_t>(63 - i);
      r.arrival_number = i;
      r.arrival = kNow - 40 + static_cast<Nanos>(i / 2);
    }
    const BatchRules rules{.rows_max = 1 + static_cast<int64_t>(random() % 40),
                           .tokens_max = 1 + static_cast<int64_t>(random() % 100),
                           .wait_max = random() % 2 == 0 ? 0 : static_cast<Nanos>(random() % 60),
                           .predicted = {.fixed_ns = static_cast<double>(random() % 5),
                                         .token_ns = static_cast<double>(random() % 3)},
                           .oldest_first = random() % 4 == 0};
    if (!agrees(pool, requests, rules, kNow)) return;
  }
}

TEST(pick_batch_passes_over_a_bounded_number) {
  PendingPool pool(64);
  PendingSet pending(pool);
  pending.insert({.arrival_number = 0, .slot = 0, .row_count = 3, .token_count = 3});
  for (uint32_t i = 1; i <= kPassedOverMax; ++i) {
    pending.insert({.arrival_number = i, .slot = i, .row_count = 2, .token_count = 2});
  }
  pending.insert({.arrival_number = 40, .slot = 40, .row_count = 1, .token_count = 1});
  std::vector<uint32_t> slots(64);
  const BatchRules rules{.rows_max = 4, .tokens_max = 100};
  // The single row would fit, but lies behind too many that do not.
  EXPECT_EQ(pick_batch(pending, rules, 0, slots).count, 1);
  pending.erase(5);
  const BatchPick pick = pick_batch(pending, rules, 0, slots);
  EXPECT_EQ(pick.count, 2);
  EXPECT_EQ(slots[1], 40);
}

TEST(pending_set_keeps_order_and_age) {
  std::mt19937_64 random(testing::seed());
  PendingPool pool(32);
  PendingSet pending(pool);
  PendingSet other(pool);  // shares the nodes
  Requests model;
  uint64_t number = 0;
  const auto expect_same = [&] {
    Requests sorted = model;
    std::sort(sorted.begin(), sorted.end(), MoreUrgent());
    EXPECT_EQ(pending.size(), sorted.size());
    EXPECT_EQ(pending.empty(), sorted.empty());
    size_t i = 0;
    for (const PendingRequest& request : pending) EXPECT_EQ(request.slot, sorted[i++].slot);
    if (!model.empty()) EXPECT_EQ(pending.oldest().slot, model.front().slot);
    Nanos earliest = kNoDeadline;
    for (const PendingRequest& request : model) earliest = std::min(earliest, request.deadline);
    EXPECT_EQ(pending.earliest_deadline(), earliest);
    const bool any = earliest <= 10;
    EXPECT_EQ(pending.expired(10) != pending.end(), any);
    if (any) EXPECT(pending.expired(10)->deadline <= 10);
  };
  for (int round = 0; round < 3000; ++round) {
    const auto slot = static_cast<uint32_t>(random() % 32);
    const auto found = std::find_if(model.begin(), model.end(),
                                    [&](const PendingRequest& r) { return r.slot == slot; });
    EXPECT_EQ(pool.contains(slot), found != model.end());
    if (found != model.end()) {
      pending.erase(slot);
      model.erase(found);
    } else {
      const PendingRequest request{
          .level = 1 + static_cast<int>(random() % 4),
          .deadline = random() % 2 == 0 ? kNoDeadline : static_cast<Nanos>(random() % 20),
          .arrival_number = number++,
          .slot = slot};
      (random() % 8 == 0 ? other : pending).insert(request);
      if (!other.empty()) {
        EXPECT_EQ(other.oldest().slot, slot);
        other.erase(slot);
      } else {
        model.push_back(request);
      }
    }
    expect_same();
  }
}

TEST(priority_levels) {
  EXPECT_EQ(level_of_priority(-1), 2);
  EXPECT_EQ(level_of_priority(0), 2);
  for (int priority = 1; priority <= 4; ++priority) {
    EXPECT_EQ(level_of_priority(priority), priority);
  }
  EXPECT_EQ(level_of_priority(5), 4);
  EXPECT_EQ(level_of_priority(1 << 30), 4);
}

TEST(batch_time_estimate_learns_a_line) {
  BatchTimeEstimate estimate;
  EXPECT_EQ(estimate.estimate().of(1000), 0);
  estimate.add(100, 5000);
  EXPECT_NEAR(estimate.estimate().of(100), 5000, 1);  // one size: no slope
  EXPECT_NEAR(estimate.estimate().of(900), 5000, 1);
  for (const int64_t tokens : {10, 50, 100, 400, 1000, 20})
    estimate.add(tokens, 1000 + 40 * tokens);
  EXPECT_NEAR(estimate.estimate().fixed_ns, 1000, 1);
  EXPECT_NEAR(estimate.estimate().token_ns, 40, 0.1);
}

TEST(batch_time_estimate_does_not_believe_in_one_slow_batch) {
  // 50 us, and now and then one that lost its CPU for 10 ms, of another size at that.
  BatchTimeEstimate estimate;
  for (int i = 0; i < 200; ++i) {
    estimate.add(i % 20 == 7 ? 2 : 1, i % 20 == 7 ? 10'000'000 : 50'000);
  }
  EXPECT_NEAR(estimate.estimate().of(1), 50'000, 20'000);
  EXPECT(estimate.estimate().of(2) < 250'000);
  EXPECT(estimate.estimate().of(32) < 5'000'000);
  // But a batch of more tokens may take as much longer at once.
  BatchTimeEstimate grows;
  for (int i = 0; i < 50; ++i) grows.add(1, 50'000);
  grows.add(32, 32 * 50'000);
  EXPECT_NEAR(grows.estimate().of(32), 32 * 50'000, 100'000);
  // And what stays slower is learned.
  for (int i = 0; i < 1000; ++i) estimate.add(1, 10'000'000);
  EXPECT_NEAR(estimate.estimate().of(1), 10'000'000, 100'000);
}

TEST(batch_time_estimate_is_never_negative_and_forgets) {
  BatchTimeEstimate falling;
  falling.add(10, 1000);
  falling.add(1000, 10);
  EXPECT_NEAR(falling.estimate().token_ns, 0, 0);
  EXPECT(falling.estimate().fixed_ns > 0);
  BatchTimeEstimate steep;  // a line through it would start below 0
  steep.add(10, 1);
  steep.add(1000, 100'000);
  EXPECT_NEAR(steep.estimate().fixed_ns, 0, 0);
  EXPECT(steep.estimate().token_ns > 0);
  BatchTimeEstimate changed;
  for (int i = 0; i < 500; ++i) changed.add(100 + i % 7, 1'000'000);
  for (int i = 0; i < 500; ++i) changed.add(100 + i % 7, 1000);
  EXPECT_NEAR(changed.estimate().of(103), 1000, 100);
}

}  // namespace
}  // namespace pelton
