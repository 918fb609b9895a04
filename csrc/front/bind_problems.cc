#include "csrc/front/bind_problems.h"

#include <utility>

#include "csrc/wire/python_text.h"

namespace pelton {

std::string shape_text(std::span<const int64_t> dims) {
  std::string out = "[";
  for (size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) out += ", ";
    out += std::to_string(dims[i]);
  }
  return out += ']';
}

std::string place_text(int64_t row, int64_t column) {
  const int64_t place[] = {row, column};
  return shape_text(place);
}

ProblemPtr wrong_input(std::string_view tensor, std::string expected, std::string got) {
  auto problem =
      make_problem(ProblemKind::kInvalidInput,
                   "input " + python_repr(tensor) + ": expected " + expected + ", got " + got);
  problem->tensor = tensor;
  problem->expected = std::move(expected);
  problem->got = std::move(got);
  return problem;
}

ProblemPtr refused_input(std::string_view tensor, std::string_view reason, std::string expected) {
  auto problem = make_problem(ProblemKind::kInvalidInput, "input " + python_repr(tensor) + ": ");
  problem->message += reason;
  problem->tensor = tensor;
  problem->expected = std::move(expected);
  problem->got = tensor;
  return problem;
}

}  // namespace pelton
