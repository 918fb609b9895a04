// The sentences of the binder: what a tensor should have been, and what came. The oracle is
// pyserver/pelton/backends/_arrays.py.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "csrc/base/problem.h"

namespace pelton {

// "[2, 3]"
std::string shape_text(std::span<const int64_t> dims);
// "[2, 3]": a place in a matrix.
std::string place_text(int64_t row, int64_t column);

// input 'NAME': expected EXPECTED, got GOT
ProblemPtr wrong_input(std::string_view tensor, std::string expected, std::string got);
// input 'NAME': REASON
ProblemPtr refused_input(std::string_view tensor, std::string_view reason, std::string expected);

}  // namespace pelton
