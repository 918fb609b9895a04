// Whose batch comes next and where it runs: by table, and by replaying loads against a model of the
// worker that has nothing but the pure functions.
#include "csrc/serve/schedule.h"

#include <algorithm>
#include <array>
#include <deque>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr Nanos kMs = 1'000'000;
constexpr Nanos kUs = 1'000;
using Front = TeamUse::Front;

struct Case {
  const char* what;
  BatchOutlook batch;
  TeamUse use;
  Place place;
  int ranks = 1;
  bool finely = false;
};

const Case kLongCases[] = {
    {"alone it has the team, however long", {4, 100 * kMs}, {.team_size = 4}, Place::kFront, 4},
    {"alone and small it has one", {1, 50 * kUs}, {.team_size = 4}, Place::kFront, 1},
    {"long beside another: the team less one",
     {4, 100 * kMs},
     {.team_size = 4, .others_loaded = true},
     Place::kBack,
     3},
    {"long, worth one thread",
     {1, 100 * kMs},
     {.team_size = 4, .others_loaded = true},
     Place::kBack,
     1},
    {"a model's first batch counts as long",
     {2, kUnpredicted},
     {.team_size = 2, .others_loaded = true},
     Place::kBack,
     1},
    {"5 ms are not long", {2, 5 * kMs}, {.team_size = 2, .others_loaded = true}, Place::kFront, 2},
    {"long on a team of one: in parts",
     {1, 100 * kMs},
     {.team_size = 1, .others_loaded = true},
     Place::kFront,
     1,
     true},
    {"long, the back taken, a short model loaded: the last core is that one's",
     {2, 100 * kMs},
     {.team_size = 2, .back_ranks = 1, .others_loaded = true, .short_others_loaded = true},
     Place::kNowhere},
    {"long, the back taken, all loaded models long: no core idles",
     {4, 100 * kMs},
     {.team_size = 4, .back_ranks = 3, .others_loaded = true},
     Place::kFront,
     1,
     true},
    {"a first batch does not wait for another model's",
     {2, kUnpredicted},
     {.team_size = 2, .back_ranks = 1, .others_loaded = true, .short_others_loaded = true},
     Place::kFront,
     1,
     true},
    {"long, the back promised to another",
     {2, 100 * kMs},
     {.team_size = 2, .others_loaded = true, .back_is_promised = true},
     Place::kNowhere},
};

const Case kShortCases[] = {
    {"short beside a long one: what is left of the team",
     {4, 1 * kMs},
     {.team_size = 4, .back_ranks = 2, .others_loaded = true, .short_others_loaded = true},
     Place::kFront,
     2},
    {"two short ones of one thread at once",
     {1, 60 * kUs},
     {.team_size = 2, .others_loaded = true, .short_others_wait = true},
     Place::kBack,
     1},
    {"too short to hand over",
     {1, 49 * kUs},
     {.team_size = 2, .others_loaded = true, .short_others_wait = true},
     Place::kFront,
     1},
    {"nobody waits: the worker runs it",
     {1, 60 * kUs},
     {.team_size = 2, .others_loaded = true},
     Place::kFront,
     1},
    {"worth the whole team: the others wait for it",
     {2, 3 * kMs},
     {.team_size = 2, .others_loaded = true, .short_others_wait = true},
     Place::kFront,
     2},
    {"inside a long one: short",
     {1, 50 * kUs},
     {.front = Front::kYielding, .front_ranks = 1, .others_loaded = true},
     Place::kNested},
    {"inside a long one: not long",
     {1, 100 * kMs},
     {.front = Front::kYielding, .front_ranks = 1, .others_loaded = true},
     Place::kNowhere},
    {"inside a long one: not a first batch",
     {1, kUnpredicted},
     {.front = Front::kYielding, .front_ranks = 1, .others_loaded = true},
     Place::kNowhere},
    {"beside a long one on the front, the back is free",
     {2, 100 * kMs},
     {.team_size = 2, .front = Front::kYielding, .front_ranks = 1, .others_loaded = true},
     Place::kBack,
     1},
    {"beside a short one on the front",
     {1, 100 * kUs},
     {.team_size = 2, .front = Front::kBusy, .front_ranks = 1, .others_loaded = true},
     Place::kBack,
     1},
    {"the front has all ranks",
     {1, 100 * kUs},
     {.team_size = 2, .front = Front::kBusy, .front_ranks = 2, .others_loaded = true},
     Place::kNowhere},
    {"nothing runs inside a short one",
     {1, 50 * kUs},
     {.team_size = 2,
      .front = Front::kBusy,
      .front_ranks = 1,
      .back_ranks = 1,
      .others_loaded = true},
     Place::kNowhere},
};

void expect_placed(std::span<const Case> cases) {
  for (const Case& c : cases) {
    const Placement placement = place_batch(c.batch, c.use);
    const bool right = placement.place == c.place &&
                       (c.place == Place::kNowhere || placement.ranks == c.ranks) &&
                       placement.finely == c.finely;
    if (!EXPECT(right)) testing::note(std::string("not: ") + c.what);
  }
}

TEST(schedule_places_long_batches_so_that_a_core_stays_free) { expect_placed(kLongCases); }

TEST(schedule_places_short_batches_beside_and_inside_others) { expect_placed(kShortCases); }

TEST(schedule_never_gives_more_ranks_than_there_are) {
  constexpr std::array<Nanos, 5> kTimes = {kUnpredicted, 10 * kUs, 60 * kUs, 5 * kMs, 6 * kMs};
  int placed = 0;
  for (int team = 1; team <= 4; ++team) {
    for (int bits = 0; bits < 16; ++bits) {
      for (int back = 0; back < team; ++back) {
        for (int front = 0; front + back <= team; ++front) {
          for (const Front state : {Front::kBusy, Front::kYielding}) {
            for (int threads = 1; threads <= team; ++threads) {
              for (const Nanos predicted : kTimes) {
                const TeamUse use{.team_size = team,
                                  .front = front == 0 ? Front::kFree : state,
                                  .front_ranks = front,
                                  .back_ranks = back,
                                  .others_loaded = (bits & 1) != 0,
                                  .short_others_loaded = (bits & 2) != 0,
                                  .short_others_wait = (bits & 4) != 0,
                                  .back_is_promised = (bits & 8) != 0};
                const BatchOutlook batch{threads, predicted};
                const Placement p = place_batch(batch, use);
                if (p.place == Place::kNowhere) continue;
                ++placed;
                EXPECT(p.ranks >= 1 && p.ranks <= threads);
                if (p.place == Place::kNested) {
                  EXPECT(use.front == Front::kYielding && p.ranks == 1 && !batch.is_long());
                } else {
                  EXPECT(front + back + p.ranks <= team);
                  EXPECT(p.place != Place::kFront || front == 0);
                  EXPECT(p.place != Place::kBack || back == 0);
                }
                if (batch.is_long() && use.others_loaded && team > 1) EXPECT(p.ranks < team);
              }
            }
          }
        }
      }
    }
  }
  EXPECT(placed > 1000);
}

TEST(schedule_asks_by_level_then_share_then_urgency) {
  const PendingRequest high{.level = 1, .arrival_number = 9};
  const PendingRequest early{.level = 2, .deadline = 5, .arrival_number = 2};
  const PendingRequest late{.level = 2, .deadline = 6, .arrival_number = 1};
  EXPECT(goes_before({&high, 1e9}, {&early, 0}));
  EXPECT(goes_before({&late, 1}, {&early, 2}));
  EXPECT(goes_before({&early, 1}, {&late, 1}));
  EXPECT(!goes_before({&late, 1}, {&early, 1}));
}

// A model in the replay: a stream of batches that all cost the same.
struct Stream {
  BatchOutlook outlook;  // on the threads it is worth
  double weight = 1;
  int level = 2;
  Nanos period = 0;  // between arrivals; 0: always busy
  // What happened.
  Nanos next_arrival = 0;
  std::deque<Nanos> queued = {};  // arrivals that wait
  double served_ns = 0;
  bool runs = false;
  int batches = 0;
  double core_ns = 0;
  Nanos wait_max = 0;
  int ranks_max = 0;
};

struct Running {
  Stream* stream = nullptr;
  Nanos ends = 0;
  int ranks = 0;
  bool finely = false;
};

// The worker as a discrete simulation: it acts when the front is free, and every kPart in the hook
// of its batch.
class Replay {
 public:
  static constexpr Nanos kPart = 300 * kUs;

  Replay(int team_size, std::vector<Stream> its_streams)
      : team_size_(team_size), streams(std::move(its_streams)) {}

  void run(Nanos until) {
    while (now_ < until) {
      arrive();
      if (back_.stream != nullptr && back_.ends <= now_) end(back_);
      if (front_.stream != nullptr && front_.ends <= now_) end(front_);
      if (act()) continue;
      now_ = next_event();
    }
  }

  std::vector<Stream>& all() { return streams; }

 private:
  void arrive() {
    for (Stream& s : streams) {
      while (s.period == 0 && s.queued.size() < 2) push(s, now_);
      while (s.period > 0 && s.next_arrival <= now_) {
        push(s, s.next_arrival);
        s.next_arrival += s.period;
      }
    }
  }
  void push(Stream& s, Nanos at) {
    if (s.queued.empty()) s.served_ns = share_.join(s.served_ns);
    s.queued.push_back(at);
  }
  void end(Running& running) {
    running.stream->runs = false;
    running = {};
  }
  Nanos next_event() const {
    Nanos next = now_ + kPart;
    for (const Running* r : {&front_, &back_}) {
      if (r->stream != nullptr) next = std::min(next, std::max(r->ends, now_ + 1));
    }
    for (const Stream& s : streams) {
      if (s.period > 0) next = std::min(next, std::max(s.next_arrival, now_ + 1));
    }
    return next;
  }
  bool act() {
    std::vector<Stream*> line;
    for (Stream& s : streams) {
      if (!s.queued.empty() && !s.runs) line.push_back(&s);
    }
    std::sort(line.begin(), line.end(), [](const Stream* a, const Stream* b) {
      const PendingRequest x{.level = a->level}, y{.level = b->level};
      return goes_before({&x, a->served_ns}, {&y, b->served_ns});
    });
    for (Stream* s : line) {
      TeamUse use{.team_size = team_size_,
                  .front = front_.stream == nullptr ? Front::kFree
                           : front_.finely          ? Front::kYielding
                                                    : Front::kBusy,
                  .front_ranks = front_.ranks,
                  .back_ranks = back_.ranks,
                  .others_loaded = streams.size() > 1};
      const auto is_short_other = [s](const Stream* x) { return x != s && !x->outlook.is_long(); };
      for (const Stream& other : streams) use.short_others_loaded |= is_short_other(&other);
      for (const Stream* other : line) use.short_others_wait |= is_short_other(other);
      const Placement p = place_batch(s->outlook, use);
      if (p.place == Place::kNowhere) continue;
      if (p.place == Place::kNested && s->served_ns >= front_.stream->served_ns) continue;
      start(*s, p);
      return true;
    }
    return false;
  }
  void start(Stream& s, const Placement& p) {
    const Nanos took = s.outlook.predicted * s.outlook.threads / p.ranks;
    const Running& beside = p.place == Place::kBack ? front_ : back_;
    if (beside.stream != nullptr) {
      s.served_ns = FairShare::beside(s.served_ns, beside.stream->served_ns);
    }
    share_.choose(s.served_ns);
    const double core_ns = static_cast<double>(took) * p.ranks;
    s.served_ns += core_ns / s.weight;
    s.core_ns += core_ns;
    ++s.batches;
    s.ranks_max = std::max(s.ranks_max, p.ranks);
    s.wait_max = std::max(s.wait_max, now_ - s.queued.front());
    s.queued.pop_front();
    if (p.place == Place::kNested) {
      now_ += took;
      front_.ends += took;
      return;
    }
    s.runs = true;
    (p.place == Place::kBack ? back_ : front_) = {&s, now_ + took, p.ranks, p.finely};
    EXPECT(front_.ranks + back_.ranks <= team_size_);
  }

  const int team_size_;
  std::vector<Stream> streams;
  Nanos now_ = 0;
  Running front_;
  Running back_;
  FairShare share_;
};

TEST(schedule_replay_shares_one_core_by_weight) {
  Replay replay(1, {{.outlook = {1, 1 * kMs}, .weight = 1},
                    {.outlook = {1, 3 * kMs}, .weight = 2},
                    {.outlook = {1, 100 * kUs}, .weight = 1}});
  replay.run(4'000 * kMs);
  const auto& streams = replay.all();
  EXPECT_NEAR(streams[0].core_ns / 1e9, 1.0, 0.02);
  EXPECT_NEAR(streams[1].core_ns / 1e9, 2.0, 0.02);
  EXPECT_NEAR(streams[2].core_ns / 1e9, 1.0, 0.02);
}

TEST(schedule_replay_idle_time_is_little_claim_on_later_time) {
  // The second model comes after a second in which the first had everything.
  Replay replay(
      1, {{.outlook = {1, 1 * kMs}}, {.outlook = {1, 1 * kMs}, .next_arrival = 1'000 * kMs}});
  replay.all()[1].period = 500 * kUs;
  replay.run(2'000 * kMs);
  EXPECT_NEAR(replay.all()[0].core_ns / 1e9, 1.5, 0.02);
  EXPECT_NEAR(replay.all()[1].core_ns / 1e9, 0.5, 0.02);
}

TEST(schedule_replay_a_slow_model_does_not_keep_a_fast_one_waiting) {
  for (const int team : {1, 2, 4}) {
    Replay replay(team, {{.outlook = {team, 100 * kMs / team}},
                         {.outlook = {1, 50 * kUs}, .period = 250 * kUs}});
    replay.run(5'000 * kMs);
    const auto& slow = replay.all()[0];
    const auto& fast = replay.all()[1];
    EXPECT(fast.batches > 19'900);
    // On one core it waits for a part of the slow one; with more, for nobody.
    EXPECT(fast.wait_max <= (team == 1 ? Replay::kPart : 50 * kUs));
    EXPECT(team == 1 || slow.ranks_max == team - 1);
    EXPECT(slow.core_ns > (team == 1 ? 0.75 : 0.99 * (team - 1)) * 5e9);
  }
}

TEST(schedule_replay_a_fast_model_inside_a_slow_one_keeps_to_its_share) {
  // It would take all: 50 us of work every 40 us.
  Replay replay(1, {{.outlook = {1, 100 * kMs}, .weight = 3},
                    {.outlook = {1, 50 * kUs}, .period = 40 * kUs}});
  replay.run(10'000 * kMs);
  EXPECT_NEAR(replay.all()[0].core_ns / 1e10, 0.75, 0.02);
  EXPECT_NEAR(replay.all()[1].core_ns / 1e10, 0.25, 0.02);
}

TEST(schedule_replay_two_slow_models_use_every_core) {
  Replay replay(2, {{.outlook = {2, 100 * kMs}}, {.outlook = {2, 100 * kMs}}});
  replay.run(10'000 * kMs);
  EXPECT_NEAR(replay.all()[0].core_ns / 1e10, 1.0, 0.05);
  EXPECT_NEAR(replay.all()[1].core_ns / 1e10, 1.0, 0.05);
}

TEST(schedule_replay_random_loads_starve_nobody) {
  std::mt19937_64 random(testing::seed());
  for (int round = 0; round < 15; ++round) {
    const int team = 1 + static_cast<int>(random() % 4);
    std::vector<Stream> streams(2 + random() % 4);
    for (Stream& s : streams) {
      s.outlook.threads = 1 + static_cast<int>(random() % static_cast<uint64_t>(team));
      s.outlook.predicted =
          static_cast<Nanos>(1 + random() % 200) * (random() % 2 ? kMs : 10 * kUs);
      s.weight = static_cast<double>(1 + random() % 3);
    }
    Replay replay(team, streams);
    replay.run(6'000 * kMs);
    // A batch of the most expensive model per weight puts the others in its debt: if all share one
    // rank, each then waits until every other model has been served as much per weight, and for one
    // batch of it more. Two are queued.
    const auto cost = [](const Stream& s) {
      return static_cast<double>(s.outlook.predicted) * s.outlook.threads;
    };
    double debt = 0;
    for (const Stream& s : replay.all()) debt = std::max(debt, cost(s) / s.weight);
    debt += FairShare::kClaimNsMax;
    double bound = 0;
    for (const Stream& s : replay.all()) bound += 2 * (cost(s) + debt * s.weight);
    for (const Stream& s : replay.all()) {
      EXPECT(s.batches > 0);
      EXPECT(static_cast<double>(s.wait_max) <= bound);
    }
  }
}

}  // namespace
}  // namespace pelton
