// Inference in msgpack: requests read after a flat pre-scan that bounds depth, sizes and counts
// before anything is built; answers and errors written. The oracle is
// pyserver/pelton/codec/msgpack.py.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/wire/limits.h"

namespace pelton {

// kInvalidInput, kPayloadTooLarge. Views point into `body` or request.scratch. REQUIRES: `request`
// is clear.
ProblemPtr decode_msgpack_infer(std::span<const std::byte> body, const DecodeLimits& limits,
                                std::span<const TensorSpec> specs, InferRequest& request);

// Appends to `out`.
void encode_msgpack_infer(const InferAnswer& answer, std::string& out);

}  // namespace pelton
