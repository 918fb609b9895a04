// CallbackRunner: the Runner of a model that Python runs: one call of a callable for each batch, on
// an engine thread.
#pragma once

#include <cstddef>
#include <memory>

#include "csrc/bindings/conversions.h"
#include "csrc/serve/runner.h"

namespace pelton {

// A request to a CallbackRunner. Its view has one "input", which is the address of `payload`, the
// Python object that the callable is given: the engine copies views, and looks into none.
struct CallbackRequest final : PythonRequest {
  // Raises NativeError (kInvalidArgument) for less than one row.
  CallbackRequest(py::object request_payload, int64_t rows);

  const py::object payload;
  const std::byte* input = nullptr;
};

// The callable gets a list of the payloads of the requests in a batch, and puts its answers where
// it and their submitter agreed to. What it raises fails the batch: kInternal with the exception's
// text, or the code that an int attribute `status_code` of it names.
//
// Thread-safe, but for what Runner says. May be made with the GIL held only; destroyed on any
// thread, with or without it. Once the interpreter is being finalized no Python code runs: batches
// fail with kUnavailable, and the callable is leaked.
class CallbackRunner final : public Runner {
 public:
  CallbackRunner(py::object callable, int threads);
  ~CallbackRunner() override;
  CallbackRunner(const CallbackRunner&) = delete;
  CallbackRunner& operator=(const CallbackRunner&) = delete;

  // REQUIRES: the views are those of CallbackRequests.
  Status run(const BatchView& batch, Nanos deadline) override;
  // The threads that the callable computes on: of the team so many are left to it.
  int threads_wanted(int64_t, int64_t) const override { return threads_; }

  // Whether the calling thread is inside a callable: then it must not wait for the engine.
  static bool is_inside();

 private:
  Status call(const BatchView& batch) const;

  PyObject* callable_;
  const int threads_;
};

}  // namespace pelton
