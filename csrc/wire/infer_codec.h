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

// How an answer is to be written.
struct AnswerFormat {
  // kJson: with raw outputs behind it where the request asks for them, unless `is_json_only`;
  // kBinary: every output is raw, since the client accepts nothing else.
  BodyFormat kind = BodyFormat::kJson;
  std::string_view media_type = "application/json";  // static; for msgpack what Content-Type says
  bool is_json_only = false;                         // the client does not accept raw bytes
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
// name for it. Raw tensors are views of `body`. Where an input's or output's parameters ask for
// shared memory or classification, reading stops there, request.is_for_python is set, and it is no
// problem. kInvalidInput, kPayloadTooLarge, kUnsupportedMediaType.
ProblemPtr decode_infer(const FormatFields& fields, std::span<const std::byte> body,
                        const DecodeLimits& limits, std::span<const TensorSpec> specs,
                        DecodeMemory& memory, InferRequest& request);

// Appends the encoded answer to `out`. kInvalidInput where the format cannot carry an output; then
// nothing is appended.
ProblemPtr encode_infer(const InferAnswer& answer, const AnswerFormat& format, std::string& out,
                        EncodedHead& head);

}  // namespace pelton
