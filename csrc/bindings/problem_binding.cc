#include "csrc/bindings/problem_binding.h"

#include <optional>
#include <string>
#include <string_view>

namespace pelton {
namespace {

namespace py = pybind11;

// One reference for the life of the process.
PyObject* native_problem = nullptr;

py::str to_str(std::string_view text) {
  PyObject* const decoded =
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape");
  if (!decoded) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

py::dict details_of(const Problem& problem) {
  py::dict details;
  const auto add_text = [&details](const char* name, const std::optional<std::string>& value) {
    if (value) details[name] = to_str(*value);
  };
  const auto add_number = [&details](const char* name, const std::optional<int64_t>& value) {
    if (value) details[name] = *value;
  };
  add_text("tensor", problem.tensor);
  add_text("field", problem.field);
  add_text("expected", problem.expected);
  add_text("got", problem.got);
  add_number("offset", problem.offset);
  add_text("model", problem.model);
  add_text("version", problem.version);
  add_number("retry_after_ms", problem.retry_after_ms);
  return details;
}

// (kind, HTTP status, slug, title) of every kind.
py::list problem_statuses() {
  py::list rows;
  for (int kind = 1; kind <= static_cast<int>(ProblemKind::kLast); ++kind) {
    const ProblemStatus& status = problem_status(static_cast<ProblemKind>(kind));
    rows.append(py::make_tuple(kind, status.http, to_str(status.code), to_str(status.title)));
  }
  return rows;
}

}  // namespace

void bind_problem(py::module_& module) {
  native_problem = PyErr_NewExceptionWithDoc(
      "pelton._native.NativeProblem",
      "A refused request. `code` is the slug of a leaf of pelton.errors, `details` its details.",
      nullptr, nullptr);
  if (!native_problem) throw py::error_already_set();
  module.attr("NativeProblem") = py::reinterpret_borrow<py::object>(native_problem);
  module.def("problem_statuses", &problem_statuses);
}

py::object problem_exception(const Problem& problem) {
  py::object error = py::reinterpret_borrow<py::object>(native_problem)(to_str(problem.message));
  error.attr("code") = to_str(problem_status(problem.kind).code);
  error.attr("details") = details_of(problem);
  return error;
}

void raise_problem(const Problem& problem) {
  PyErr_SetObject(native_problem, problem_exception(problem).ptr());
  throw py::error_already_set();
}

}  // namespace pelton
