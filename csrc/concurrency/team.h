// The process's SPMD team: a fixed set of threads that run one body together, rank by rank, and
// meet at barriers (an SPMD team, not a parallel-for). Threads spin for a short time after a run
// and between barriers, then park on a futex; an idle team uses no CPU. The caller of run() is rank
// 0.
//
// Spinning assumes that every rank has a CPU: a team larger than usable_cpu_count() goes to sleep
// almost at once instead. In a forked child the threads do not exist: there run() takes rank_count
// 1 only, and the destructor joins nothing.
#pragma once

#include <cstdint>
#include <memory>

namespace pelton {

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
  // REQUIRES: no run() in progress. Joins the threads.
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const;
  // Runs body(context, rank) once for each rank in [0, rank_count) and returns when all have
  // returned. Allocates nothing. REQUIRES: 1 <= rank_count <= size(); one caller at a time; body
  // does not throw and does not call run().
  void run(int rank_count, void (*body)(void* context, int rank), void* context);
  // A full barrier among the ranks of the current run; everything written before it is seen after
  // it. Called from the body by every rank the same number of times.
  void barrier(int rank);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pelton
