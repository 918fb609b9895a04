// What a msgpack body asks for, read after the scan.
#pragma once

#include <cstddef>
#include <span>

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/wire/limits.h"

namespace pelton {

// REQUIRES: scan_msgpack() let `body` pass; `request` is clear.
ProblemPtr read_msgpack_request(std::span<const std::byte> body, const DecodeLimits& limits,
                                std::span<const TensorSpec> specs, InferRequest& request);

}  // namespace pelton
