// Fakes for the tests of the engine: a clock, runners, and requests that own their buffers.
#pragma once

#include <sys/resource.h>

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "csrc/base/clock.h"
#include "csrc/serve/engine.h"
#include "tests/native/test.h"

namespace pelton {

inline constexpr int64_t kSecond = 1'000'000'000;
// How long a test waits for what must happen: far over any real time, so that only a hang reaches
// it.
inline constexpr int64_t kPatienceNs = 60 * kSecond;

class FakeClock final : public Clock {
 public:
  explicit FakeClock(Nanos start = kSecond) : now_(start) {}
  Nanos now() const override { return now_.load(); }
  void advance(Nanos by) { now_.fetch_add(by); }

 private:
  std::atomic<Nanos> now_;
};

// One request to a model that has one float per token as input and output. Must stay where it is
// until it is over.
class FloatRequest {
 public:
  // Rows of `tokens_per_row` tokens, filled from `first` on upwards.
  explicit FloatRequest(float first = 0, int64_t row_count = 1, int64_t tokens_per_row = 1)
      : lengths_(static_cast<size_t>(row_count), static_cast<int32_t>(tokens_per_row)),
        in_(static_cast<size_t>(row_count * tokens_per_row)),
        out_(in_.size(), -1.0f) {
    for (size_t i = 0; i < in_.size(); ++i) in_[i] = first + static_cast<float>(i);
    inputs_ = {reinterpret_cast<const std::byte*>(in_.data())};
    outputs_ = {reinterpret_cast<std::byte*>(out_.data())};
  }
  FloatRequest(const FloatRequest&) = delete;
  FloatRequest& operator=(const FloatRequest&) = delete;

  RequestView view() const {
    return {.row_count = static_cast<int64_t>(lengths_.size()),
            .token_count = static_cast<int64_t>(in_.size()),
            .lengths = lengths_,
            .inputs = inputs_,
            .outputs = outputs_};
  }
  float first() const { return in_[0]; }
  bool is_plus_one() const {
    for (size_t i = 0; i < in_.size(); ++i) {
      if (out_[i] != in_[i] + 1) return false;
    }
    return true;
  }
  bool is_untouched() const {
    for (const float value : out_) {
      if (value != -1.0f) return false;
    }
    return true;
  }

 private:
  std::vector<int32_t> lengths_;
  std::vector<float> in_;
  std::vector<float> out_;
  std::array<const std::byte*, 1> inputs_;
  std::array<std::byte*, 1> outputs_;
};

inline void add_one(const BatchView& batch) {
  for (const RequestView* request : batch.requests) {
    for (int64_t i = 0; i < request->token_count; ++i) {
      float value = 0;
      const auto offset = static_cast<size_t>(i) * sizeof(value);
      std::memcpy(&value, request->inputs[0] + offset, sizeof(value));
      value += 1;
      std::memcpy(request->outputs[0] + offset, &value, sizeof(value));
    }
  }
}

class AddOneRunner final : public Runner {
 public:
  Status run(const BatchView& batch, Nanos) override {
    add_one(batch);
    return Status();
  }
};

// Adds one, when the test lets it: each batch stops until release() has been called for it.
// Remembers the first input value of every request, in the order in which they ran, one list per
// batch.
class SteppedRunner final : public Runner {
 public:
  Status run(const BatchView& batch, Nanos deadline) override {
    std::unique_lock lock(mutex_);
    std::vector<float> firsts;
    for (const RequestView* request : batch.requests) {
      float value = 0;
      std::memcpy(&value, request->inputs[0], sizeof(value));
      firsts.push_back(value);
    }
    batches_.push_back(std::move(firsts));
    deadlines_.push_back(deadline);
    changed_.notify_all();
    changed_.wait(lock, [this] { return released_ >= batches_.size(); });
    if (!failure_.ok()) return failure_;
    add_one(batch);
    return Status();
  }

  // Waits until `count` batches have started.
  bool wait_started(size_t count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::nanoseconds(kPatienceNs),
                             [&] { return batches_.size() >= count; });
  }
  void release(size_t count = 1) {
    const std::lock_guard lock(mutex_);
    released_ += count;
    changed_.notify_all();
  }
  void release_all() {
    const std::lock_guard lock(mutex_);
    released_ = size_t{1} << 40;
    changed_.notify_all();
  }
  void fail_with(Status failure) {
    const std::lock_guard lock(mutex_);
    failure_ = std::move(failure);
  }
  std::vector<std::vector<float>> batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }
  std::vector<Nanos> deadlines() {
    const std::lock_guard lock(mutex_);
    return deadlines_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t released_ = 0;
  Status failure_;
  std::vector<std::vector<float>> batches_;
  std::vector<Nanos> deadlines_;
};

// One request with its own waiter.
struct Call {
  explicit Call(float first = 0, int64_t row_count = 1, int64_t tokens_per_row = 1)
      : request(first, row_count, tokens_per_row) {}

  SubmitResult submit(Engine& engine, ModelId model, int priority = 0, Nanos deadline = kNoDeadline,
                      Wake wake = Wake::kNow) {
    const SubmitResult result = engine.submit({.model = model,
                                               .priority = priority,
                                               .deadline = deadline,
                                               .request = request.view(),
                                               .sink = &waiter,
                                               .user = this},
                                              wake);
    if (result.ok()) ticket = result.value();
    return result;
  }
  // The completion's code; the completion itself stays in `completion`.
  StatusCode wait() {
    if (!EXPECT(waiter.wait_for(kPatienceNs))) return StatusCode::kInternal;
    completion = waiter.take();
    EXPECT_EQ(completion.ticket, ticket);
    EXPECT(completion.user == this);
    return completion.status.code();
  }

  FloatRequest request;
  BlockingWaiter waiter;
  Ticket ticket = 0;
  Completion completion;
};

// Waits until the model's gate is closed; changes nothing.
inline bool wait_until_refusing(Engine& engine, ModelId model) {
  const Nanos patience = MonotonicClock().now() + kPatienceNs;
  Call call;
  Submission invalid{.model = model, .request = call.request.view(), .sink = &call.waiter};
  invalid.request.row_count = 0;
  while (engine.submit(invalid).code() != StatusCode::kUnavailable) {
    if (MonotonicClock().now() > patience) return false;
    std::this_thread::yield();
  }
  return true;
}

inline double cpu_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace pelton
