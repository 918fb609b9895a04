// What is checked of a body before it is read.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "csrc/base/problem.h"
#include "csrc/wire/limits.h"

namespace pelton {

// kPayloadTooLarge.
ProblemPtr check_body_size(size_t size, const DecodeLimits& limits);

// kUnsupportedMediaType unless the body may be JSON by its Content-Type, nullopt where the request
// has none. `expected` names the types that are read.
ProblemPtr check_json_type(std::optional<std::string_view> content_type, std::string_view expected);

}  // namespace pelton
