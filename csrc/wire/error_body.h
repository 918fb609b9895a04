// Problems as bodies: the problem document of RFC 9457 with a string member `error` (JSON or
// msgpack), OpenAI's shape under /v1, the document with the `error_type` of Hugging Face's
// text-embeddings-inference (TEI) for /embed. The oracles are to_body() of
// pyserver/pelton/errors.py, encode_error(), encode_openai_error() and encode_tei_error() of
// pyserver/pelton/codec.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "csrc/base/problem.h"

namespace pelton {

enum class ErrorShape : uint8_t { kProblem, kOpenAi, kTei };

struct ErrorContext {
  ErrorShape shape = ErrorShape::kProblem;
  std::string_view path = {};  // of the request, percent-encoding as it came
  std::string_view request_id = {};
  // Fields of the request.
  std::optional<std::string_view> content_type = std::nullopt;
  std::optional<std::string_view> accept = std::nullopt;
  std::optional<std::string_view> inference_header_content_length = std::nullopt;
};

// The shape that the clients of a path read.
ErrorShape error_shape(std::string_view path);

// Appends the body to `out` and returns its Content-Type (static).
std::string_view encode_error(const Problem& problem, const ErrorContext& context,
                              std::string& out);

// Retry-After (whole seconds, at least 1) and retry-after-ms as header lines with CRLF, for status
// 503, else nothing. `jitter` in [0, 1) stretches the wait by that share.
void append_retry_headers(const Problem& problem, double jitter, std::string& out);

}  // namespace pelton
