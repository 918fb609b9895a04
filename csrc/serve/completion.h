// How the engine tells submitters that their requests are done: the sink interface and its two
// implementations.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "csrc/base/clock.h"
#include "csrc/base/status.h"
#include "csrc/concurrency/mpmc_ring.h"
#include "csrc/concurrency/wait_word.h"
#include "csrc/concurrency/wake_flag.h"

namespace pelton {

// Names one accepted request: generation << 32 | slot. Never 0. A slot's generation comes round
// after 2^32 - 1 requests in that slot.
using Ticket = uint64_t;

// Fits, with the ring's sequence number, into a cache line.
struct Completion {
  Ticket ticket = 0;
  void* user = nullptr;  // as submitted
  Status status = {};  // ok: the wanted outputs are filled. Otherwise the outputs are unspecified.
  // By the engine's clock. A request that did not run has 0 in all but `queued`.
  Nanos queued = 0;          // when it was accepted
  Nanos started = 0;         // its batch
  Nanos ended = 0;           // its batch
  int32_t batch_rows = 0;    // of the whole batch it ran in (2^31 - 1: or more)
  int32_t batch_tokens = 0;  // likewise
};

// Where an engine puts completions. For every accepted request: one successful try_reserve() before
// it was accepted, one push() when it is over, and after that a flush(). A submission that was
// refused after its reservation gives it back by cancel_reservation().
//
// The engine's last access to a sink on behalf of a request is the flush() that follows its push():
// a sink must stay alive until then. Both sinks below make that easy to keep.
class CompletionSink {
 public:
  virtual ~CompletionSink() = default;
  // Makes room for one completion; false when there is none. From any thread; does not wait, does
  // not allocate.
  virtual bool try_reserve() noexcept = 0;
  virtual void cancel_reservation() noexcept = 0;
  // Takes one completion. Called by one thread of an engine, but by several engines at once. Always
  // has room, does not wait, does not allocate.
  virtual void push(Completion completion) noexcept = 0;
  // Makes the `count` completions that this engine has pushed since its last flush known to the
  // consumer, with one wake-up at most.
  virtual void flush(int64_t count) noexcept = 0;
};

// Completions for an event loop: a bounded ring and an eventfd that becomes readable when something
// was pushed since the last drain(). One write to the eventfd per batch at most, and only while the
// consumer has not been told yet.
class CompletionQueue final : public CompletionSink {
 public:
  // At most `capacity` requests may be submitted and not drained. REQUIRES: 1 <= capacity <= 2^20;
  // status() is looked at before any other use.
  explicit CompletionQueue(size_t capacity);
  // Closes it first.
  ~CompletionQueue() override;
  CompletionQueue(const CompletionQueue&) = delete;
  CompletionQueue& operator=(const CompletionQueue&) = delete;

  // Not ok when the process has no file descriptor left.
  Status status() const;
  // The eventfd, non-blocking; owned by the queue.
  int fd() const { return fd_; }

  // Appends what has been pushed to `completions` and returns how many that were; reads the eventfd
  // and arms it first, so that nothing pushed later goes unannounced. REQUIRES: one caller at a
  // time. Allocates only if `completions` must grow.
  size_t drain(std::vector<Completion>& completions);
  // For a consumer that has completions made on its own thread: nothing is announced between mute()
  // and drain_muted(), which is drain() but leaves the eventfd alone. REQUIRES: as drain().
  void mute() noexcept { (void)armed_.fire(); }
  size_t drain_muted(std::vector<Completion>& completions);

  // From now on reservations are refused. Waits until every accepted request has been pushed and
  // flushed; drain() then gets the rest. Waits for nothing in a forked child, whose engines do not
  // run. Thread-safe; may be called again.
  void close();

  bool try_reserve() noexcept override;
  void cancel_reservation() noexcept override;
  void push(Completion completion) noexcept override;
  void flush(int64_t count) noexcept override;

 private:
  void leave(int64_t count) noexcept;

  const int64_t capacity_;
  const uint32_t fork_generation_;
  int fd_ = -1;
  MpmcRing<Completion> ring_;
  WakeFlag armed_;
  // Reserved and not drained yet; at most capacity_. The budget of ring_: taken with acquire, given
  // back with release.
  alignas(kInterferenceBytes) std::atomic<int64_t> reserved_{0};
  // Reserved and not flushed yet, in steps of 2; bit 0: closed.
  alignas(kInterferenceBytes) std::atomic<int64_t> busy_{0};
  WaitWord idle_;  // 1: closed, and was not busy since
};

// The completion of one request at a time, for a thread that waits for it. May live on the waiting
// thread's stack: when wait_for() has returned true, the engine does not touch it any more.
// Destroying it while a request is out is a bug.
class BlockingWaiter final : public CompletionSink {
 public:
  // Spins for spin_ns_max before it sleeps.
  explicit BlockingWaiter(int64_t spin_ns_max = 0) : limits_{spin_ns_max} {}
  ~BlockingWaiter() override;
  BlockingWaiter(const BlockingWaiter&) = delete;
  BlockingWaiter& operator=(const BlockingWaiter&) = delete;

  // Waits until the request that was accepted last is over; false when timeout_ns (kNoTimeout:
  // none) ran out first: then call again. REQUIRES: a request was accepted with this sink.
  bool wait_for(int64_t timeout_ns = kNoTimeout);
  // REQUIRES: wait_for() has returned true. The waiter may be used for the next request afterwards.
  Completion take();

  // False while a request is out or its completion has not been taken.
  bool try_reserve() noexcept override;
  void cancel_reservation() noexcept override;
  void push(Completion completion) noexcept override;
  void flush(int64_t count) noexcept override;

 private:
  const SpinLimits limits_;
  bool reserved_ = false;  // touched by the waiting thread only
  uint32_t round_ = 0;     // requests so far; written by the waiting thread between requests
  Completion completion_;
  WaitWord done_;  // publishes completion_ of round_
};

}  // namespace pelton
