// A Front over an engine with a model x + 1, and connections whose transport is a string.
#pragma once

#include <poll.h>

#include <condition_variable>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "csrc/front/front.h"
#include "csrc/serve/engine.h"
#include "tests/native/test.h"

namespace pelton {

// x + 1 over rows of `width` floats; `before` is called at the start of each batch.
class PlusOneRunner final : public Runner {
 public:
  explicit PlusOneRunner(int64_t width) : width_(width) {}
  std::function<void()> before = [] {};
  Status result;

  Status run(const BatchView& batch, Nanos) override {
    before();
    for (const RequestView* request : batch.requests) {
      const std::byte* in = request->inputs[0];
      std::byte* out = request->outputs[0];
      for (int64_t i = 0; i < request->row_count * width_; ++i, in += 4, out += 4) {
        float value;
        std::memcpy(&value, in, 4);
        value += 1;
        std::memcpy(out, &value, 4);
      }
    }
    return result;
  }

 private:
  const int64_t width_;
};

// Holds batches back until it is opened.
class Latch {
 public:
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_open_; });
  }
  void open() {
    {
      const std::lock_guard lock(mutex_);
      is_open_ = true;
    }
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
};

class FakeHooks final : public LoopHooks {
 public:
  int turn_ends = 0;
  Nanos timer = kNoDeadline;
  int gone = 0;
  std::vector<std::string> failures;
  uint64_t compressing = 0;
  std::string coding;

  void call_at_turn_end() override { ++turn_ends; }
  void call_at(Nanos when) override { timer = when; }
  void compress(uint64_t number, std::string_view its_coding, std::string_view) override {
    compressing = number;
    coding = its_coding;
  }
  void log_client_gone(std::string_view, std::string_view) override { ++gone; }
  void log_failure(std::string_view, std::string_view, std::string_view message) override {
    failures.emplace_back(message);
  }
};

class FakeTransport final : public Transport {
 public:
  std::string written;
  std::string forwarded;
  int writes = 0;
  int probes = 0;
  bool is_reading_paused = false;
  bool is_finished = false;
  bool is_closed = false;
  bool is_aborted = false;
  bool was_reset = false;
  bool may_take_back = true;
  size_t unsent = 0;
  std::function<void()> on_forward = [] {};

  void write(std::string_view bytes) override {
    written += bytes;
    ++writes;
  }
  void forward(std::string_view bytes) override {
    forwarded += bytes;
    on_forward();
  }
  bool take_back() override { return may_take_back; }
  void probe_forwarded() override { ++probes; }
  void pause_reading() override { is_reading_paused = true; }
  void resume_reading() override { is_reading_paused = false; }
  void finish_writing() override { is_finished = true; }
  void close() override { is_closed = true; }
  void abort() override { is_aborted = true; }
  size_t unsent_bytes() const override { return unsent; }
  bool is_reset() const override { return was_reset; }
};

inline constexpr int64_t kWidth = 4;

// Batches run on the engine's thread only, where a test may hold them back.
inline FrontOptions engine_only(FrontOptions options = {}) {
  options.help_budget = 0;
  return options;
}

struct FrontFixture {
  explicit FrontFixture(FrontOptions options = {}) : front(options, hooks) {
    runner = std::make_shared<PlusOneRunner>(kWidth);
    add("m");
  }
  ~FrontFixture() { front.close(); }

  void add(const std::string& name, int64_t piece_rows_max = 64) {
    front.set_model(name, {served(name, "1", piece_rows_max)});
  }
  // A model that is on no front yet.
  std::shared_ptr<ServedModel> served(const std::string& name, const std::string& version,
                                      int64_t piece_rows_max = 64) {
    ServedModel::Options model;
    model.contract.name = name;
    model.contract.version = version;
    model.contract.inputs = {{"x", DType::kFp32, {-1, kWidth}}};
    model.contract.outputs = {{"y", DType::kFp32, {-1, kWidth}}};
    model.engine = &engine;
    model.runner = runner;
    model.piece_rows_max = model.piece_tokens_max = piece_rows_max;
    model.gates.request_rows_max = model.pieces_in_flight_max * piece_rows_max;
    model.id = engine.add_model(runner, {}).value();
    return std::make_shared<ServedModel>(std::move(model));
  }

  // Ends the turn and handles what was completed, waiting for it where nothing was yet.
  void complete() {
    const uint64_t answered = front.stats().answered;
    front.end_turn();
    pollfd poller{front.fd(), POLLIN, 0};
    const bool is_done = front.stats().answered != answered;
    if (poll(&poller, 1, is_done ? 0 : 10) > 0) front.on_completions();
  }
  // Until `done`, which must come true.
  void complete_until(const std::function<bool()>& done) {
    const Nanos end = front.now() + 60'000'000'000;  // only a hang reaches it
    while (!done() && front.now() < end) complete();
    EXPECT(done());
  }

  FakeHooks hooks;
  Engine engine{{.thread_count = 1}};
  std::shared_ptr<PlusOneRunner> runner;
  Front front;
};

struct Client {
  explicit Client(FrontFixture& fixture) : connection(fixture.front, transport) {
    connection.opened();
  }
  ~Client() { connection.lost(); }

  size_t answers() const { return count("HTTP/1.1 "); }
  size_t count(std::string_view text) const {
    size_t found = 0;
    for (size_t at = transport.written.find(text); at != std::string::npos;
         at = transport.written.find(text, at + 1)) {
      ++found;
    }
    return found;
  }

  FakeTransport transport;
  Connection connection;
};

inline std::string post(std::string_view path, std::string_view body,
                        std::string_view fields = "") {
  std::string text = "POST ";
  text += path;
  text += " HTTP/1.1\r\nHost: h\r\n";
  text += fields;
  text += "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
  return text += body;
}

// One row: `first`, first + 1, ...
inline std::string infer_json(float first = 0, std::string_view fields = "",
                              std::string_view more = "",
                              std::string_view path = "/v2/models/m/infer") {
  std::string data;
  for (int i = 0; i < kWidth; ++i) {
    data += (i > 0 ? "," : "") + std::to_string(first + static_cast<float>(i));
  }
  return post(path,
              "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,4],\"data\":[" +
                  data + "]}]" + std::string(more) + "}",
              fields);
}

}  // namespace pelton
