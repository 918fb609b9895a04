// Between Python and the engine's values: statuses to exceptions, arrays to views. Called with the
// GIL held.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <vector>

#include "csrc/base/batch_view.h"
#include "csrc/base/status.h"
#include "csrc/plan/plan.h"

namespace pelton {

namespace py = pybind11;

// Adds NativeError to the module.
void bind_error(py::module_& module);
// Raises NativeError with the status's code and message.
[[noreturn]] void raise_status(const Status& status);
inline void raise_unless_ok(const Status& status) {
  if (!status.ok()) raise_status(status);
}
template <typename T>
T value_or_raise(Result<T> result) {
  raise_unless_ok(result.status());
  return std::move(result).value();
}

// (name, OIP datatype, dims) of one tensor of a plan.
py::tuple describe_tensor(const PlanTensor& tensor);

// What every request of Python brings to the engine: its view, and references that live as long as
// it is under way. Must be destroyed with the GIL held.
struct PythonRequest {
  py::object token;
  py::object queue;  // the Python CompletionQueue that will deliver it, kept alive until then
  RequestView view;

  PythonRequest() = default;
  virtual ~PythonRequest() = default;
  PythonRequest(const PythonRequest&) = delete;
  PythonRequest& operator=(const PythonRequest&) = delete;
};

// One request's arrays for a plan, and the views into them that the engine reads. Owns references
// to the arrays.
struct ArrayRequest final : PythonRequest {
  std::vector<py::object> arrays;
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;

  // Raises NativeError (kInvalidArgument) naming the tensor when a dtype, size or layout is not the
  // plan's.
  ArrayRequest(const Plan& plan, const py::sequence& input_arrays,
               const py::sequence& output_arrays, int64_t rows, const py::object& lengths);
};

}  // namespace pelton
