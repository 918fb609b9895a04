// The JSON part of an Open Inference Protocol request, with or without raw tensors behind it. The
// oracle is pyserver/pelton/codec/_oip.py. Sources: kserve/open-inference-protocol
// `inference_rest.md`; triton-inference-server/server `extension_binary_data.md`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/limits.h"

namespace pelton {

// The raw tensors behind the JSON part; `start` is where they begin in the body.
struct BinarySection {
  std::span<const std::byte> raw;
  int64_t start = 0;
};

// Reads into `request`; see decode_infer(). `section` is nullopt where the body is JSON alone.
// REQUIRES: `document` was parsed with request.scratch, `request` is clear otherwise.
ProblemPtr read_oip_request(const JsonDocument& document, std::optional<BinarySection> section,
                            const DecodeLimits& limits, InferRequest& request);

}  // namespace pelton
