// Why a text is not JSON within the limits: the exact problem that pyserver/pelton/codec/_json.py
// finds, which checks bounds over the whole text before syntax. Slower than JsonDocument, and only
// for texts that it does not take.
#pragma once

#include <string_view>

#include "csrc/base/problem.h"
#include "csrc/wire/limits.h"

namespace pelton {

// nullptr where the text is JSON within the limits.
ProblemPtr refuse_json(std::string_view text, const DecodeLimits& limits);

}  // namespace pelton
