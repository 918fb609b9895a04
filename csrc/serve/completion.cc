#include "csrc/serve/completion.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/concurrency/fork.h"

namespace pelton {

CompletionQueue::CompletionQueue(size_t capacity)
    : capacity_(static_cast<int64_t>(capacity)),
      fork_generation_(pelton::fork_generation()),
      fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      ring_(std::bit_ceil(std::max<size_t>(capacity, 2))) {
  PELTON_CHECK(capacity >= 1 && capacity <= (size_t{1} << 20));
}

CompletionQueue::~CompletionQueue() {
  close();
  if (fd_ >= 0) ::close(fd_);
}

Status CompletionQueue::status() const {
  if (fd_ >= 0) return Status();
  return Status(StatusCode::kUnavailable,
                "a completion queue needs an eventfd, and this process may open no more files");
}

size_t CompletionQueue::drain(std::vector<Completion>& completions) {
  uint64_t signals = 0;
  // Nothing to do about a failure: EAGAIN means that drain() was called without a signal.
  [[maybe_unused]] const ssize_t bytes = ::read(fd_, &signals, sizeof(signals));
  return drain_muted(completions);
}

size_t CompletionQueue::drain_muted(std::vector<Completion>& completions) {
  armed_.arm();
  // What was pushed before arm() may be announced to nobody, so all of it must go now: that is at
  // most capacity_. Whatever is pushed later announces itself; it may wait for the next call, so
  // that this one ends.
  std::array<Completion, 64> chunk;
  int64_t total = 0;
  while (total < capacity_) {
    const size_t count = ring_.pop_many(chunk.data(), chunk.size());
    if (count == 0) break;
    for (size_t i = 0; i < count; ++i) completions.push_back(std::move(chunk[i]));
    total += static_cast<int64_t>(count);
    reserved_.fetch_sub(static_cast<int64_t>(count), std::memory_order_release);
  }
  return static_cast<size_t>(total);
}

void CompletionQueue::close() {
  if (pelton::fork_generation() != fork_generation_) return;
  // acquire, here and in the wait: what the engines did to this object is over.
  if (busy_.fetch_or(1, std::memory_order_acq_rel) == 0) idle_.publish(1);
  idle_.wait_for(1, SpinLimits{});
}

bool CompletionQueue::try_reserve() noexcept {
  if ((busy_.fetch_add(2, std::memory_order_relaxed) & 1) != 0) {
    leave(1);
    return false;
  }
  int64_t reserved = reserved_.load(std::memory_order_relaxed);
  do {
    if (reserved >= capacity_) {
      leave(1);
      return false;
    }
  } while (!reserved_.compare_exchange_weak(reserved, reserved + 1, std::memory_order_acquire,
                                            std::memory_order_relaxed));
  return true;
}

void CompletionQueue::cancel_reservation() noexcept {
  reserved_.fetch_sub(1, std::memory_order_release);
  leave(1);
}

void CompletionQueue::push(Completion completion) noexcept {
  // The reservation is a unit of the ring's budget.
  PELTON_CHECK(ring_.try_push(std::move(completion)));
}

void CompletionQueue::flush(int64_t count) noexcept {
  if (armed_.fire()) {
    const uint64_t signal = 1;
    // Cannot fail: the counter would have to reach 2^64 - 1, and the descriptor is ours.
    [[maybe_unused]] const ssize_t bytes = ::write(fd_, &signal, sizeof(signal));
  }
  leave(count);
}

void CompletionQueue::leave(int64_t count) noexcept {
  // release: close() returns only after everything that was done to this object.
  if (busy_.fetch_sub(2 * count, std::memory_order_acq_rel) == 2 * count + 1) idle_.publish(1);
}

BlockingWaiter::~BlockingWaiter() { PELTON_CHECK(!reserved_); }

bool BlockingWaiter::wait_for(int64_t timeout_ns) {
  PELTON_CHECK(reserved_);
  return done_.wait_for(round_, limits_, timeout_ns);
}

Completion BlockingWaiter::take() {
  PELTON_CHECK(reserved_ && done_.reached(round_));
  reserved_ = false;
  return std::move(completion_);
}

bool BlockingWaiter::try_reserve() noexcept {
  if (reserved_) return false;
  reserved_ = true;
  ++round_;
  return true;
}

void BlockingWaiter::cancel_reservation() noexcept { reserved_ = false; }

void BlockingWaiter::push(Completion completion) noexcept { completion_ = std::move(completion); }

// The publication is the last access: the waiting thread may then destroy this object. It is made
// here, not in push(), because the engine still holds the object between the two.
void BlockingWaiter::flush(int64_t) noexcept { done_.publish(round_); }

}  // namespace pelton
