// The process's SPMD team: a fixed set of threads that run one body together, rank by rank, and
// meet at barriers (an SPMD team, not a parallel-for). Threads spin for a short time after a run
// and between barriers, then park on a futex; an idle team uses no CPU.
//
// The team has two lanes, so that two bodies may run at once on ranks of their own: the front lane,
// led by the thread that calls its run(), which is rank 0 of the team; and the back lane, whose
// ranks are the team's last and whose leader is one of the team's threads: post() starts it.
//
// Spinning assumes that every rank has a CPU: a team larger than usable_cpu_count() goes to sleep
// almost at once instead. In a forked child the threads do not exist: there run() takes rank_count
// 1 only, and the destructor joins nothing.
#pragma once

#include <cstdint>
#include <memory>

namespace pelton {

class Lane;

class Team {
 public:
  struct Options {
    int thread_count = 1;          // the caller included
    int64_t spin_ns_max = 50'000;  // after a run: then park
    // In a barrier or at the end of a run; after the first sleep in a run shorter, see SpinBarrier.
    int64_t barrier_spin_ns_max = 200'000;
  };
  // Starts thread_count - 1 threads. REQUIRES: thread_count >= 1.
  explicit Team(const Options& options);
  // REQUIRES: no run() in progress, and every posted task has told that it is over (it may still be
  // returning). Joins the threads.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const;
  Lane& front();
  Lane& back();
  // The front lane's.
  void run(int rank_count, void (*body)(void* context, int rank), void* context);
  void barrier(int rank);

  // Has the thread of rank size() - rank_count call task(context), and returns. The task may call
  // back().run() with up to rank_count ranks. It must tell the caller itself when it is over, as
  // the last that it does but returning. REQUIRES: 1 <= rank_count < size(); the task posted before
  // is over; no front run uses those ranks while the task runs; called by the front lane's leader.
  void post(int rank_count, void (*task)(void* context), void* context);

 private:
  friend class Lane;
  struct State;
  std::unique_ptr<State> state_;
};

// Runs of one leader. Not thread-safe: the leader's, but for barrier().
class Lane {
 public:
  using Body = void (*)(void* context, int rank);

  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;
  ~Lane();

  // Runs body(context, rank) once for each rank in [0, rank_count), counted within the lane, rank 0
  // on the calling thread, and returns when all have returned. Allocates nothing. REQUIRES:
  // rank_count >= 1, and the lane has so many ranks; one caller at a time; body does not throw; it
  // calls run() only where rank_count is 1, and then with 1 only.
  void run(int rank_count, Body body, void* context);
  // A full barrier among the ranks of the current run; everything written before it is seen after
  // it. Called from the body by every rank the same number of times.
  void barrier(int rank);

 private:
  friend class Team;
  Lane(Team::State* team, int first_rank);

  struct Meeting;
  Team::State* const team_;
  int first_rank_;  // of the team; of the back lane, set by post()
  const std::unique_ptr<Meeting> meeting_;
};

}  // namespace pelton
