#include "csrc/concurrency/team.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <random>
#include <thread>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

struct Marks {
  Team* team;
  std::vector<int> calls;  // per rank
};

void mark(void* context, int rank) {
  ++static_cast<Marks*>(context)->calls[static_cast<size_t>(rank)];
}

TEST(team_runs_each_rank_once) {
  for (const int threads : {1, 2, 3, 5}) {
    Team team({.thread_count = threads});
    EXPECT_EQ(team.size(), threads);
    Marks marks{&team, std::vector<int>(static_cast<size_t>(threads))};
    std::vector<int> expected(static_cast<size_t>(threads));
    // Every width in turn, several times: a narrower run must leave the other ranks alone.
    for (int round = 0; round < 20; ++round) {
      for (int ranks = 1; ranks <= threads; ++ranks) {
        team.run(ranks, mark, &marks);
        for (int rank = 0; rank < ranks; ++rank) ++expected[static_cast<size_t>(rank)];
        EXPECT_EQ(marks.calls, expected);
      }
    }
  }
}

// Ranks pass a plain number round: rank r adds to what rank r - 1 wrote before the barrier. Wrong
// ordering or a lost meeting gives a wrong sum (and a data race under ThreadSanitizer).
struct Chain {
  Team* team;
  int ranks;
  int meetings;
  std::vector<int64_t> cells;  // a line each
  std::vector<int64_t> sums;
};
constexpr size_t kStride = 16;

void walk(void* context, int rank) {
  Chain& chain = *static_cast<Chain*>(context);
  int64_t& own = chain.cells[static_cast<size_t>(rank) * kStride];
  const size_t left = static_cast<size_t>((rank + chain.ranks - 1) % chain.ranks);
  for (int i = 0; i < chain.meetings; ++i) {
    own = i + rank;
    chain.team->barrier(rank);
    chain.sums[static_cast<size_t>(rank) * kStride] += chain.cells[left * kStride];
    chain.team->barrier(rank);
  }
}

void expect_chain(Team& team, int ranks, int meetings) {
  const size_t cells = static_cast<size_t>(ranks) * kStride;
  Chain chain{&team, ranks, meetings, std::vector<int64_t>(cells), std::vector<int64_t>(cells)};
  team.run(ranks, walk, &chain);
  for (int rank = 0; rank < ranks; ++rank) {
    const int64_t left = (rank + ranks - 1) % ranks;
    const int64_t expected = int64_t{meetings} * (meetings - 1) / 2 + left * meetings;
    EXPECT_EQ(chain.sums[static_cast<size_t>(rank) * kStride], expected);
  }
}

TEST(team_barrier_orders_plain_memory) {
  for (const int threads : {2, 3, 4, 7}) {
    Team team({.thread_count = threads});
    for (int round = 0; round < 5; ++round) {
      for (int ranks = 1; ranks <= threads; ++ranks) expect_chain(team, ranks, 50);
    }
  }
}

TEST(team_barrier_of_two_meets_often) {
  Team team({.thread_count = 2});
  expect_chain(team, 2, 20'000);
}

TEST(team_barrier_when_it_may_not_spin) {
  // Every wait sleeps: the futex path carries the same promises.
  Team team({.thread_count = 4, .spin_ns_max = 0, .barrier_spin_ns_max = 0});
  for (int round = 0; round < 20; ++round) expect_chain(team, 4, 50);
}

void pause_at_random(void* context, int rank) {
  Chain& chain = *static_cast<Chain*>(context);
  std::mt19937_64 random(testing::seed() + static_cast<uint64_t>(rank));
  for (int i = 0; i < chain.meetings; ++i) {
    if (random() % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 500));
    ++chain.sums[static_cast<size_t>(rank) * kStride];
    chain.team->barrier(rank);
    EXPECT_EQ(chain.sums[static_cast<size_t>((rank + 1) % chain.ranks) * kStride], i + 1);
    chain.team->barrier(rank);
  }
}

TEST(team_barrier_with_preempted_peers) {
  // Pauses on both sides of the spin limit, so that peers sleep in some meetings and spin in
  // others.
  Team team({.thread_count = 3, .spin_ns_max = 50'000, .barrier_spin_ns_max = 100'000});
  Chain chain{&team, 3, 200, std::vector<int64_t>(3 * kStride), std::vector<int64_t>(3 * kStride)};
  team.run(3, pause_at_random, &chain);
}

// A chain on the back lane, posted; `is_over` is the task's last access.
struct Posted {
  explicit Posted(Team& its_team, int its_ranks, int meetings)
      : team(&its_team),
        ranks(its_ranks),
        chain{&its_team, its_ranks, meetings, cells(), cells()} {}
  std::vector<int64_t> cells() const {
    return std::vector<int64_t>(static_cast<size_t>(ranks) * kStride);
  }
  void post() {
    is_over = false;
    team->post(
        ranks,
        [](void* context) {
          Posted& self = *static_cast<Posted*>(context);
          self.team->back().run(self.ranks, walk_back, &self.chain);
          self.is_over.store(true, std::memory_order_release);
        },
        this);
  }
  static void walk_back(void* context, int rank) {
    Chain& chain = *static_cast<Chain*>(context);
    int64_t& own = chain.cells[static_cast<size_t>(rank) * kStride];
    const auto left = static_cast<size_t>((rank + chain.ranks - 1) % chain.ranks);
    for (int i = 0; i < chain.meetings; ++i) {
      own = i + rank;
      chain.team->back().barrier(rank);
      chain.sums[static_cast<size_t>(rank) * kStride] += chain.cells[left * kStride];
      chain.team->back().barrier(rank);
    }
  }
  bool wait() const {
    const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!is_over.load(std::memory_order_acquire)) {
      if (std::chrono::steady_clock::now() > patience) return false;
      std::this_thread::yield();
    }
    return true;
  }
  // Every chain so far has been as it should be.
  void expect_sums(int posted) const {
    for (int rank = 0; rank < ranks; ++rank) {
      const int64_t left = (rank + ranks - 1) % ranks;
      const int64_t each =
          int64_t{chain.meetings} * (chain.meetings - 1) / 2 + left * chain.meetings;
      EXPECT_EQ(chain.sums[static_cast<size_t>(rank) * kStride], each * posted);
    }
  }

  Team* team;
  int ranks;
  Chain chain;
  std::atomic<bool> is_over{false};
};

TEST(team_lanes_run_beside_each_other) {
  std::mt19937_64 random(testing::seed());
  for (const int threads : {2, 3, 5}) {
    Team team({.thread_count = threads});
    for (int round = 0; round < 30; ++round) {
      const int back = 1 + static_cast<int>(random() % static_cast<uint64_t>(threads - 1));
      Posted posted(team, back, 20);
      for (int time = 1; time <= 3; ++time) {
        posted.post();
        // The front has the other ranks meanwhile, and all of them in between.
        expect_chain(team, threads - back, 20);
        EXPECT(posted.wait());
        posted.expect_sums(time);
        if (random() % 2 == 0) expect_chain(team, threads, 5);
      }
    }
  }
}

TEST(team_ends_while_a_posted_task_returns) {
  for (int round = 0; round < 50; ++round) {
    Team team({.thread_count = 2});
    Posted posted(team, 1, 2);
    posted.post();
    EXPECT(posted.wait());
    posted.expect_sums(1);
  }
}

TEST(team_runs_one_rank_inside_one_rank) {
  Team team({.thread_count = 2});
  struct Inner {
    Team* team;
    int count;
  } inner{&team, 0};
  team.run(
      1,
      [](void* context, int) {
        Inner& self = *static_cast<Inner*>(context);
        self.team->run(1, [](void* count, int) { ++*static_cast<int*>(count); }, &self.count);
        self.team->barrier(0);
      },
      &inner);
  EXPECT_EQ(inner.count, 1);
}

double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(team_is_parked_when_idle) {
  Team team({.thread_count = 4});
  Marks marks{&team, std::vector<int>(4)};
  team.run(4, mark, &marks);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));  // well over the spin limit
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT((cpu_seconds() - before) / 0.5 < 0.01);
}

TEST(team_in_a_forked_child_runs_alone_and_ends) {
  Team team({.thread_count = 2});
  Marks marks{&team, std::vector<int>(2)};
  team.run(2, mark, &marks);
  const pid_t child = fork();
  if (child == 0) {
#if defined(__SANITIZE_THREAD__)
    team.run(1, mark, &marks);  // ThreadSanitizer lets no child of a threaded process start threads
    ++marks.calls[1];
#else
    {
      Team own({.thread_count = 2});  // a team that the child makes itself works
      own.run(2, mark, &marks);
    }
#endif
    team.run(1, mark, &marks);
    team.~Team();
    _exit(marks.calls[0] == 3 && marks.calls[1] == 2 ? 0 : 1);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  team.run(2, mark, &marks);
  EXPECT_EQ(marks.calls[1], 2);
}

}  // namespace
}  // namespace pelton
