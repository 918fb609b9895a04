#include "csrc/bindings/engine_binding.h"

#include <cstdlib>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "csrc/bindings/callback_runner.h"
#include "csrc/exec/kernel_choice.h"
#include "csrc/serve/completion.h"
#include "csrc/serve/engine.h"
#include "csrc/serve/plan_runner.h"

namespace pelton {
namespace {

constexpr int64_t kSignalCheckNs = 100'000'000;  // how often a blocked call looks for Ctrl-C
// The bounds of pelton/metrics.py, in nanoseconds.
constexpr uint64_t kSecondsBoundsNs[] = {
    100'000,       250'000,       500'000,       1'000'000,     2'500'000,   5'000'000,
    10'000'000,    25'000'000,    50'000'000,    100'000'000,   250'000'000, 500'000'000,
    1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};
constexpr int kCountBounds = 15;  // 1, 2, 4, ... 16384

// CompletionQueue for Python: what it drains are PythonRequests.
class PythonCompletionQueue {
 public:
  explicit PythonCompletionQueue(size_t capacity) : queue_(capacity) {
    raise_unless_ok(queue_.status());
  }
  ~PythonCompletionQueue() { close(); }

  CompletionSink* sink() { return &queue_; }
  int fileno() const { return queue_.fd(); }

  py::list drain() {
    completions_.clear();
    queue_.drain(completions_);
    py::list list;
    for (const Completion& completion : completions_) {
      const std::unique_ptr<PythonRequest> request(static_cast<PythonRequest*>(completion.user));
      list.append(py::make_tuple(request->token, static_cast<int>(completion.status.code()),
                                 std::string(completion.status.message())));
    }
    completions_.clear();
    return list;
  }

  void close() {
    {
      py::gil_scoped_release release;
      queue_.close();
    }
    drain();
  }

 private:
  CompletionQueue queue_;
  std::vector<Completion> completions_;
};

template <typename Bounds>
py::dict histogram(const HistogramSnapshot& snapshot, const Bounds& bounds, double unit) {
  py::list limits;
  py::list counts;
  uint64_t below = 0;
  for (const uint64_t bound : bounds) {
    const uint64_t at_most = snapshot.count_at_most(bound);
    limits.append(static_cast<double>(bound) * unit);
    counts.append(at_most - below);
    below = at_most;
  }
  counts.append(snapshot.count - below);
  py::dict result;
  result["bounds"] = limits;
  result["counts"] = counts;
  result["total"] = static_cast<double>(snapshot.sum) * unit;
  return result;
}

std::vector<uint64_t> count_bounds() {
  std::vector<uint64_t> bounds;
  for (int power = 0; power < kCountBounds; ++power) bounds.push_back(uint64_t{1} << power);
  return bounds;
}

struct RequestOptions {
  int priority;
  int64_t deadline_ns;
};

// Engine for Python. The GIL guards runners_ and callbacks_.
class PythonEngine {
 public:
  PythonEngine(int threads, int64_t queue_requests_max)
      : kernels_(value_or_raise(choose_kernels(std::getenv("PELTON_ISA")))),
        engine_(checked_options(threads, queue_requests_max)) {}
  ~PythonEngine() { close(); }

  int threads() const { return engine_.thread_count(); }

  ModelId load(std::shared_ptr<const Plan> plan, int threads, const ModelLimits& limits) {
    check_threads(threads);
    PlanRunner::Options options;
    options.team = &engine_.team();
    options.threads_max = threads;
    options.kernels = kernels_;
    auto runner = value_or_raise(PlanRunner::create(std::move(plan), options));
    const ModelId model = value_or_raise(engine_.add_model(runner, limits));
    runners_[model] = std::move(runner);
    return model;
  }

  ModelId load_callback(py::object callable, int threads, const ModelLimits& limits) {
    check_threads(threads);
    auto runner = std::make_shared<CallbackRunner>(std::move(callable), threads);
    const ModelId model = value_or_raise(engine_.add_model(std::move(runner), limits));
    callbacks_.insert(model);
    return model;
  }

  void unload(ModelId model) {
    if (CallbackRunner::is_inside()) {
      raise_status(internal_error("a model was unloaded by a callable that the engine runs"));
    }
    const Status status = [&] {
      py::gil_scoped_release release;
      return engine_.remove_model(model);
    }();
    runners_.erase(model);
    callbacks_.erase(model);
    raise_unless_ok(status);
  }

  Ticket submit(ModelId model, const py::sequence& inputs, const py::sequence& outputs,
                int64_t rows, const py::object& lengths, const RequestOptions& options,
                const py::object& completions, const py::object& token) {
    return submit(model, checked_request(model, inputs, outputs, rows, lengths), options,
                  completions, token);
  }

  Ticket submit_payload(ModelId model, py::object payload, int64_t rows,
                        const RequestOptions& options, const py::object& completions,
                        const py::object& token) {
    return submit(model, callback_request(model, std::move(payload), rows), options, completions,
                  token);
  }

  void run(ModelId model, const py::sequence& inputs, const py::sequence& outputs, int64_t rows,
           const py::object& lengths, const RequestOptions& options) {
    run(model, *checked_request(model, inputs, outputs, rows, lengths), options);
  }

  void run_payload(ModelId model, py::object payload, int64_t rows, const RequestOptions& options) {
    run(model, *callback_request(model, std::move(payload), rows), options);
  }

  bool cancel(Ticket ticket) { return engine_.cancel(ticket); }
  Engine& engine() { return engine_; }
  std::shared_ptr<const Runner> shared_runner_of(ModelId model) const {
    (void)runner_of(model);  // raises
    return runners_.at(model);
  }

  py::dict stats(ModelId model) const {
    const ModelStats stats = value_or_raise(engine_.stats(model));
    py::dict requests;
    for (size_t i = 0; i < kOutcomeCount; ++i) {
      requests[py::str(std::string(outcome_name(static_cast<Outcome>(i))))] = stats.requests[i];
    }
    py::dict result;
    result["requests"] = requests;
    result["batches"] = stats.batches;
    result["rows"] = stats.rows;
    result["tokens"] = stats.tokens;
    result["queue_rows"] = stats.queue_rows;
    result["queue_seconds"] = histogram(stats.queue_ns, kSecondsBoundsNs, 1e-9);
    result["execute_seconds"] = histogram(stats.execute_ns, kSecondsBoundsNs, 1e-9);
    result["batch_rows"] = histogram(stats.batch_rows, count_bounds(), 1.0);
    result["batch_tokens"] = histogram(stats.batch_tokens, count_bounds(), 1.0);
    result["requests_execute_ns"] = stats.requests_execute_ns;
    result["last_execution_ns"] = stats.last_execution;
    py::list batch_sizes;
    for (const BatchSizeStats& size : stats.batch_sizes) {
      batch_sizes.append(py::make_tuple(size.row_count, size.batches, size.execute_ns));
    }
    result["batch_sizes"] = batch_sizes;
    if (callbacks_.contains(model)) {  // its memory is the callable's
      for (const char* name : {"arena_bytes", "arena_bytes_peak", "weight_bytes"}) {
        result[name] = 0;
      }
      return result;
    }
    const MemoryStats memory = runner_of(model).memory();
    result["arena_bytes"] = memory.bytes_in_use;
    result["arena_bytes_peak"] = memory.bytes_peak;
    result["weight_bytes"] = runner_of(model).plan().weight_bytes();
    return result;
  }

  bool drain(double timeout_s) {
    py::gil_scoped_release release;
    const Nanos now = MonotonicClock().now();
    const double limit_s = std::min(std::max(timeout_s, 0.0), 1e9);
    return engine_.drain(now + static_cast<Nanos>(limit_s * 1e9));
  }

  void close() {
    py::gil_scoped_release release;
    engine_.close();
  }

 private:
  Ticket submit(ModelId model, std::unique_ptr<PythonRequest> request,
                const RequestOptions& options, const py::object& completions,
                const py::object& token) {
    request->token = token;
    request->queue = completions;
    Submission submission = make_submission(model, *request, options);
    submission.sink = completions.cast<PythonCompletionQueue&>().sink();
    const SubmitResult result = engine_.submit(submission);
    if (!result.ok()) raise_status(result.status());
    request.release();  // drain() takes it back
    return result.value();
  }

  void run(ModelId model, const PythonRequest& request, const RequestOptions& options) {
    if (CallbackRunner::is_inside()) {
      raise_status(internal_error("a callable that the engine runs waits for the engine"));
    }
    BlockingWaiter waiter;
    Submission submission = make_submission(model, request, options);
    submission.sink = &waiter;
    const SubmitResult result = engine_.submit(submission);
    if (!result.ok()) raise_status(result.status());
    bool interrupted = false;
    while (!wait_without_gil(waiter)) {
      if (interrupted || PyErr_CheckSignals() == 0) continue;
      interrupted = true;
      engine_.cancel(result.value());
    }
    const Completion completion = waiter.take();
    if (interrupted) throw py::error_already_set();
    raise_unless_ok(completion.status);
  }

  static void check_threads(int threads) {
    if (threads >= 1) return;
    raise_status(invalid_argument("threads: expected at least 1, got " + std::to_string(threads)));
  }

  std::unique_ptr<CallbackRequest> callback_request(ModelId model, py::object payload,
                                                    int64_t rows) const {
    if (!callbacks_.contains(model)) {
      raise_status(Status(StatusCode::kNotFound, "no callback model " + std::to_string(model)));
    }
    return std::make_unique<CallbackRequest>(std::move(payload), rows);
  }

  static Engine::Options checked_options(int threads, int64_t queue_requests_max) {
    if (threads < 1 || threads > 1024) {
      raise_status(invalid_argument("threads: expected 1 to 1024, got " + std::to_string(threads)));
    }
    if (queue_requests_max < 1 || queue_requests_max > int64_t{1} << 20) {
      raise_status(invalid_argument("queue_requests_max: expected 1 to 1048576, got " +
                                    std::to_string(queue_requests_max)));
    }
    Engine::Options options;
    options.thread_count = threads;
    options.queue_requests_max = queue_requests_max;
    return options;
  }

  const PlanRunner& runner_of(ModelId model) const {
    const auto found = runners_.find(model);
    if (found == runners_.end()) {
      raise_status(Status(StatusCode::kNotFound, "no model " + std::to_string(model)));
    }
    return *found->second;
  }

  std::unique_ptr<ArrayRequest> checked_request(ModelId model, const py::sequence& inputs,
                                                const py::sequence& outputs, int64_t rows,
                                                const py::object& lengths) const {
    const PlanRunner& runner = runner_of(model);
    auto request = std::make_unique<ArrayRequest>(runner.plan(), inputs, outputs, rows, lengths);
    raise_unless_ok(runner.check(request->view));
    return request;
  }

  static Submission make_submission(ModelId model, const PythonRequest& request,
                                    const RequestOptions& options) {
    Submission submission;
    submission.model = model;
    submission.priority = options.priority;
    submission.deadline = options.deadline_ns;
    submission.request = request.view;
    submission.user = const_cast<PythonRequest*>(&request);
    return submission;
  }

  static bool wait_without_gil(BlockingWaiter& waiter) {
    py::gil_scoped_release release;
    return waiter.wait_for(kSignalCheckNs);
  }

  const kernels::KernelSet kernels_;
  Engine engine_;
  std::unordered_map<ModelId, std::shared_ptr<PlanRunner>> runners_;
  std::unordered_set<ModelId> callbacks_;
};

// The methods for models that Python runs.
void bind_callbacks(py::class_<PythonEngine>& engine) {
  engine
      .def(
          "load_callback",
          [](PythonEngine& self, py::object callable, int threads, int64_t batch_rows_max,
             int64_t batch_wait_us_max, int64_t queue_rows_max) {
            return self.load_callback(
                std::move(callable), threads,
                {batch_rows_max, batch_rows_max, batch_wait_us_max, queue_rows_max});
          },
          py::arg("function"), py::kw_only(), py::arg("threads"), py::arg("batch_rows_max"),
          py::arg("batch_wait_us_max"), py::arg("queue_rows_max"))
      .def(
          "submit_payload",
          [](PythonEngine& self, ModelId model, py::object payload, int64_t rows, int priority,
             int64_t deadline_ns, const py::object& completions, const py::object& token) {
            return self.submit_payload(model, std::move(payload), rows, {priority, deadline_ns},
                                       completions, token);
          },
          py::arg("model"), py::arg("payload"), py::arg("rows"), py::arg("priority"),
          py::arg("deadline_ns"), py::arg("completions"), py::arg("token"))
      .def(
          "run_payload",
          [](PythonEngine& self, ModelId model, py::object payload, int64_t rows, int priority,
             int64_t deadline_ns) {
            self.run_payload(model, std::move(payload), rows, {priority, deadline_ns});
          },
          py::arg("model"), py::arg("payload"), py::arg("rows"), py::arg("priority"),
          py::arg("deadline_ns"));
}

}  // namespace

EngineModel engine_model(const py::handle& engine, ModelId model) {
  auto& found = engine.cast<PythonEngine&>();
  return {&found.engine(), found.shared_runner_of(model)};
}

void bind_engine(py::module_& module) {
  py::class_<PythonCompletionQueue>(module, "CompletionQueue",
                                    "Completions for one event loop, announced by an eventfd.")
      .def(py::init<size_t>(), py::arg("capacity"))
      .def("fileno", &PythonCompletionQueue::fileno)
      .def("drain", &PythonCompletionQueue::drain)
      .def("close", &PythonCompletionQueue::close);

  module.def("inside_callable", &CallbackRunner::is_inside,
             "Whether this thread runs a callable for an engine: it must not wait for one then.");

  py::class_<PythonEngine> engine(module, "Engine",
                                  "Models, their queue, and the threads they run on.");
  bind_callbacks(engine);
  engine.def(py::init<int, int64_t>(), py::arg("threads"), py::arg("queue_requests_max") = 4096)
      .def_property_readonly("threads", &PythonEngine::threads)
      .def(
          "load",
          [](PythonEngine& self, std::shared_ptr<Plan> plan, int threads, int64_t batch_rows_max,
             int64_t batch_tokens_max, int64_t batch_wait_us_max, int64_t queue_rows_max) {
            return self.load(std::move(plan), threads,
                             {batch_rows_max, batch_tokens_max, batch_wait_us_max, queue_rows_max});
          },
          py::arg("plan"), py::kw_only(), py::arg("threads"), py::arg("batch_rows_max"),
          py::arg("batch_tokens_max"), py::arg("batch_wait_us_max"), py::arg("queue_rows_max"))
      .def("unload", &PythonEngine::unload, py::arg("model"))
      .def(
          "submit",
          [](PythonEngine& self, ModelId model, const py::sequence& inputs,
             const py::sequence& outputs, int64_t rows, const py::object& lengths, int priority,
             int64_t deadline_ns, const py::object& completions, const py::object& token) {
            return self.submit(model, inputs, outputs, rows, lengths, {priority, deadline_ns},
                               completions, token);
          },
          py::arg("model"), py::arg("inputs"), py::arg("outputs"), py::arg("rows"),
          py::arg("lengths"), py::arg("priority"), py::arg("deadline_ns"), py::arg("completions"),
          py::arg("token"))
      .def(
          "run",
          [](PythonEngine& self, ModelId model, const py::sequence& inputs,
             const py::sequence& outputs, int64_t rows, const py::object& lengths, int priority,
             int64_t deadline_ns) {
            self.run(model, inputs, outputs, rows, lengths, {priority, deadline_ns});
          },
          py::arg("model"), py::arg("inputs"), py::arg("outputs"), py::arg("rows"),
          py::arg("lengths"), py::arg("priority"), py::arg("deadline_ns"))
      .def("cancel", &PythonEngine::cancel, py::arg("ticket"))
      .def("stats", &PythonEngine::stats, py::arg("model"))
      .def("drain", &PythonEngine::drain, py::arg("timeout_s"))
      .def("close", [](PythonEngine& self) {
        if (CallbackRunner::is_inside()) {
          raise_status(internal_error("an engine was closed by a callable that it may run"));
        }
        self.close();
      });
}

}  // namespace pelton
