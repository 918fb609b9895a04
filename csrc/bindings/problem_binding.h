// Problems as Python exceptions. Called with the GIL held.
#pragma once

#include <pybind11/pybind11.h>

#include "csrc/base/problem.h"

namespace pelton {

// Adds NativeProblem and problem_statuses() to the module.
void bind_problem(pybind11::module_& module);

// The problem as a NativeProblem: its message, `code` (the slug) and `details` (a dict). Bytes that
// are not UTF-8 become surrogates, as Python decodes what comes from outside.
pybind11::object problem_exception(const Problem& problem);
[[noreturn]] void raise_problem(const Problem& problem);
inline void raise_if_problem(const ProblemPtr& problem) {
  if (problem) raise_problem(*problem);
}

}  // namespace pelton
