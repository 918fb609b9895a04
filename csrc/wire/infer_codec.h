// Inference requests and answers in the formats of the wire: OIP v2 JSON, OIP v2 with binary
// tensors, msgpack. The native twin of pyserver/pelton/codec, which is the oracle: same results,
// same problems.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/limits.h"

namespace pelton {

enum class BodyFormat : uint8_t { kJson, kBinary, kMsgpack };

// The header fields that choose formats; nullopt where a request lacks one.
struct FormatFields {
  std::optional<std::string_view> content_type;
  std::optional<std::string_view> accept;
  std::optional<std::string_view> inference_header_content_length;
};

// How an answer is to be written: `media_type` is what its Content-Type says for msgpack.
struct AnswerFormat {
  BodyFormat kind = BodyFormat::kJson;
  std::string_view media_type;  // static
};

// What came out of encoding, beside the body itself.
struct EncodedHead {
  std::string_view content_type;  // static
  // Value of the answer's Inference-Header-Content-Length; negative: it has none.
  int64_t json_bytes = -1;
};

// Memory of decoders, used again from request to request. Not thread-safe.
struct DecodeMemory {
  JsonDocument json;
};

// kUnsupportedMediaType.
ProblemPtr request_format(const FormatFields& fields, BodyFormat& format);
// kNotAcceptable.
ProblemPtr answer_format(const FormatFields& fields, BodyFormat request, AnswerFormat& format);

// Decodes the body of an inference request into `request` (cleared first), in the format that the
// fields say. `specs` are the inputs of the model, used only where a body holds one tensor and no
// name for it. Raw tensors are views of `body`. kInvalidInput, kPayloadTooLarge,
// kUnsupportedMediaType.
ProblemPtr decode_infer(const FormatFields& fields, std::span<const std::byte> body,
                        const DecodeLimits& limits, std::span<const TensorSpec> specs,
                        DecodeMemory& memory, InferRequest& request);

// Appends the encoded answer to `out`. kInvalidInput where the format cannot carry an output.
ProblemPtr encode_infer(const InferAnswer& answer, const AnswerFormat& format, std::string& out,
                        EncodedHead& head);

}  // namespace pelton
