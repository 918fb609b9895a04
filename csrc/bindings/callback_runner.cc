#include "csrc/bindings/callback_runner.h"

#include <string>
#include <utility>

namespace pelton {
namespace {

constexpr int kStatusCodes = static_cast<int>(StatusCode::kInternal);

thread_local bool inside = false;

bool interpreter_is_ending() {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

// The exception as a status. With the GIL held; raises nothing.
Status status_of(const py::error_already_set& error) {
  StatusCode code = StatusCode::kInternal;
  std::string message;
  try {
    message = std::string(py::str(error.value()));
    const py::object given = py::getattr(error.value(), "status_code", py::none());
    if (py::isinstance<py::int_>(given)) {
      const int number = given.cast<int>();
      if (number > 0 && number <= kStatusCodes) code = static_cast<StatusCode>(number);
    } else {
      message = std::string(py::str(error.type().attr("__name__"))) + ": " + message;
    }
  } catch (const std::exception&) {  // an exception that cannot even be shown
    message = "the model raised an exception without a text";
  }
  return Status(code, std::move(message));
}

}  // namespace

CallbackRequest::CallbackRequest(py::object request_payload, int64_t rows)
    : payload(std::move(request_payload)) {
  if (rows < 1)
    raise_status(invalid_argument("expected at least 1 row, got " + std::to_string(rows)));
  input = reinterpret_cast<const std::byte*>(payload.ptr());
  view.row_count = rows;
  view.token_count = rows;
  view.inputs = {&input, 1};
}

CallbackRunner::CallbackRunner(py::object callable, int threads)
    : callable_(callable.release().ptr()), threads_(threads) {}

CallbackRunner::~CallbackRunner() {
  if (interpreter_is_ending()) return;
  const py::gil_scoped_acquire gil;
  Py_DECREF(callable_);
}

bool CallbackRunner::is_inside() { return inside; }

Status CallbackRunner::run(const BatchView& batch, Nanos) {
  if (interpreter_is_ending()) {
    return Status(StatusCode::kUnavailable, "the interpreter is ending");
  }
  const py::gil_scoped_acquire gil;
  const bool was_inside = std::exchange(inside, true);
  Status status = call(batch);
  inside = was_inside;
  return status;
}

Status CallbackRunner::call(const BatchView& batch) const {
  try {
    py::list payloads(batch.requests.size());
    for (size_t i = 0; i < batch.requests.size(); ++i) {
      auto* payload =
          reinterpret_cast<PyObject*>(const_cast<std::byte*>(batch.requests[i]->inputs[0]));
      payloads[i] = py::reinterpret_borrow<py::object>(payload);
    }
    const auto answer = py::reinterpret_borrow<py::object>(callable_)(payloads);
    return Status();
  } catch (const py::error_already_set& error) {
    return status_of(error);
  } catch (const std::exception& error) {
    return internal_error(error.what());
  }
}

}  // namespace pelton
