#include "csrc/concurrency/team.h"

#include <thread>
#include <vector>

#include "csrc/base/check.h"
#include "csrc/base/cpu_count.h"
#include "csrc/concurrency/cpu_placement.h"
#include "csrc/concurrency/fork.h"
#include "csrc/concurrency/spin_barrier.h"
#include "csrc/concurrency/wait_word.h"

namespace pelton {
namespace {

struct Job {
  void (*body)(void* context, int rank) = nullptr;  // nullptr: end the thread
  void* context = nullptr;
};

// Words of one thread. Each is published by one thread and awaited by one.
struct Seat {
  alignas(kInterferenceBytes) WaitWord start;  // the leader: run number, job_ is set
  alignas(kInterferenceBytes) WaitWord done;   // the thread: run number, its body has returned
  uint32_t run_number = 0;                     // of the last run that it took part in; the leader's
};

}  // namespace

struct Team::State {
  State(const Options& options, bool may_spin)
      : run_limits{may_spin ? options.spin_ns_max : 0},
        peer_limits{may_spin ? options.barrier_spin_ns_max : 0},
        generation(fork_generation()),
        seats(static_cast<size_t>(options.thread_count)),
        barrier(options.thread_count, peer_limits),
        placement(options.thread_count) {}

  void work(int rank) {
    Seat& seat = seats[static_cast<size_t>(rank)];
    for (uint32_t number = 1;; ++number) {
      seat.start.wait_for(number, run_limits);
      if (job.body == nullptr) return;
      placement.settle(rank);
      barrier.begin(rank);
      job.body(job.context, rank);
      seat.done.publish(number);
    }
  }

  void start(int rank) {
    Seat& seat = seats[static_cast<size_t>(rank)];
    seat.start.publish(++seat.run_number);
  }

  const SpinLimits run_limits;
  const SpinLimits peer_limits;
  const uint32_t generation;
  std::vector<Seat> seats;  // seat 0 is the leader's and unused
  SpinBarrier barrier;
  CpuPlacement placement;
  // Written by the leader while every thread waits in its seat; the seat's start word publishes it.
  Job job;
  std::vector<std::thread> threads;
};

Team::Team(const Options& options) {
  PELTON_CHECK(options.thread_count >= 1);
  state_ = std::make_unique<State>(options, options.thread_count <= usable_cpu_count());
  state_->threads.reserve(static_cast<size_t>(options.thread_count - 1));
  for (int rank = 1; rank < options.thread_count; ++rank) {
    state_->threads.emplace_back([state = state_.get(), rank] { state->work(rank); });
  }
}

Team::~Team() {
  if (fork_generation() != state_->generation) {
    // The threads stayed in the parent: there is nothing to join, and a std::thread cannot be let
    // go of without it.
    (void)state_.release();
    return;
  }
  state_->job = {};
  for (int rank = 1; rank < size(); ++rank) state_->start(rank);
  for (std::thread& thread : state_->threads) thread.join();
}

int Team::size() const { return static_cast<int>(state_->seats.size()); }

void Team::run(int rank_count, void (*body)(void* context, int rank), void* context) {
  PELTON_CHECK(rank_count >= 1 && rank_count <= size());
  PELTON_CHECK(rank_count == 1 || fork_generation() == state_->generation);
  // Flags keep the number of the last meeting: other ranks than last time have other numbers.
  if (rank_count != state_->barrier.rank_count()) state_->barrier.reset(rank_count);
  state_->job = {body, context};
  if (rank_count > 1) state_->placement.settle(0);
  for (int rank = 1; rank < rank_count; ++rank) state_->start(rank);
  state_->barrier.begin(0);
  body(context, 0);
  for (int rank = 1; rank < rank_count; ++rank) {
    Seat& seat = state_->seats[static_cast<size_t>(rank)];
    seat.done.wait_for(seat.run_number, state_->peer_limits);
  }
}

void Team::barrier(int rank) { state_->barrier.arrive_and_wait(rank); }

}  // namespace pelton
