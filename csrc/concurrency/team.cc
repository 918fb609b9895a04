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

// What a thread is started for: a rank of a lane's run, a task (no lane), or its end (neither).
struct Job {
  Lane::Body body = nullptr;
  void (*task)(void* context) = nullptr;
  SpinBarrier* barrier = nullptr;  // of the run
  int rank = 0;                    // within the run
  void* context = nullptr;
};

// Words of one thread. Each is published by one thread at a time and awaited by one.
struct Seat {
  alignas(kInterferenceBytes) WaitWord start;  // the leader: run number, job is set
  alignas(kInterferenceBytes) WaitWord done;   // the thread: run number, its body has returned
  uint32_t run_number = 0;                     // of the last run that it took part in; its leader's
  // Written by the leader while the thread waits in its seat, or is on its way there; the start
  // word publishes it, and the thread copies it.
  Job job;
};

}  // namespace

struct Lane::Meeting {
  SpinBarrier barrier;
};

struct Team::State {
  State(const Options& options, bool may_spin)
      : run_limits{may_spin ? options.spin_ns_max : 0},
        peer_limits{may_spin ? options.barrier_spin_ns_max : 0},
        generation(fork_generation()),
        seats(static_cast<size_t>(options.thread_count)),
        placement(options.thread_count),
        front(this, 0),
        back(this, 0) {}

  void work(int rank) {
    Seat& seat = seats[static_cast<size_t>(rank)];
    for (uint32_t number = 1;; ++number) {
      seat.start.wait_for(number, run_limits);
      const Job job = seat.job;
      if (job.body == nullptr && job.task == nullptr) return;
      placement.settle(rank);
      if (job.task != nullptr) {
        job.task(job.context);
        continue;  // the next job may be there already
      }
      job.barrier->begin(job.rank);
      job.body(job.context, job.rank);
      seat.done.publish(number);
    }
  }

  void start(int rank, const Job& job) {
    Seat& seat = seats[static_cast<size_t>(rank)];
    seat.job = job;
    seat.start.publish(++seat.run_number);
  }

  const SpinLimits run_limits;
  const SpinLimits peer_limits;
  const uint32_t generation;
  std::vector<Seat> seats;  // seat 0 is the front leader's and unused
  CpuPlacement placement;
  Lane front;
  Lane back;
  std::vector<std::thread> threads;
};

Lane::Lane(Team::State* team, int first_rank)
    : team_(team),
      first_rank_(first_rank),
      meeting_(new Meeting{SpinBarrier(static_cast<int>(team->seats.size()), team->peer_limits)}) {}

Lane::~Lane() = default;

void Lane::run(int rank_count, Body body, void* context) {
  PELTON_CHECK(rank_count >= 1 &&
               rank_count <= static_cast<int>(team_->seats.size()) - first_rank_);
  PELTON_CHECK(rank_count == 1 || fork_generation() == team_->generation);
  SpinBarrier& barrier = meeting_->barrier;
  // Flags keep the number of the last meeting: other ranks than last time have other numbers.
  if (rank_count != barrier.rank_count()) barrier.reset(rank_count);
  if (rank_count > 1) team_->placement.settle(first_rank_);
  for (int rank = 1; rank < rank_count; ++rank) {
    team_->start(first_rank_ + rank,
                 {.body = body, .barrier = &barrier, .rank = rank, .context = context});
  }
  barrier.begin(0);
  body(context, 0);
  for (int rank = 1; rank < rank_count; ++rank) {
    Seat& seat = team_->seats[static_cast<size_t>(first_rank_ + rank)];
    seat.done.wait_for(seat.run_number, team_->peer_limits);
  }
}

void Lane::barrier(int rank) { meeting_->barrier.arrive_and_wait(rank); }

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
  for (int rank = 1; rank < size(); ++rank) state_->start(rank, {});
  for (std::thread& thread : state_->threads) thread.join();
}

int Team::size() const { return static_cast<int>(state_->seats.size()); }

Lane& Team::front() { return state_->front; }

Lane& Team::back() { return state_->back; }

void Team::run(int rank_count, Lane::Body body, void* context) {
  state_->front.run(rank_count, body, context);
}

void Team::barrier(int rank) { state_->front.barrier(rank); }

void Team::post(int rank_count, void (*task)(void* context), void* context) {
  PELTON_CHECK(rank_count >= 1 && rank_count < size());
  PELTON_CHECK(fork_generation() == state_->generation);
  state_->placement.settle(0);  // where the front is: the task keeps away from there
  state_->back.first_rank_ = size() - rank_count;
  state_->start(size() - rank_count, {.task = task, .context = context});
}

}  // namespace pelton
