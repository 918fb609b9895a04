// The body of /v1/embeddings as the openai clients write and read it. The oracle is
// pyserver/pelton/codec/embeddings.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/problem.h"
#include "csrc/base/scratch.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/limits.h"

namespace pelton {

// What to embed: texts, or the token ids of `lengths.size()` inputs one after the other; one of the
// two is not empty. Views point into the body or `scratch`.
struct EmbeddingsRequest {
  std::string_view model;
  std::vector<std::string_view> texts;
  std::vector<int32_t> ids;
  std::vector<int32_t> lengths;
  bool base64 = false;
  std::optional<int64_t> dimensions;
  std::optional<bool> truncate;
  Scratch scratch;

  void clear() {
    model = {};
    texts.clear();
    ids.clear();
    lengths.clear();
    base64 = false;
    dimensions.reset();
    truncate.reset();
    scratch.reset();
  }
};

// `content_type` as the request says, nullopt where it says nothing. kInvalidInput,
// kPayloadTooLarge, kUnsupportedMediaType.
ProblemPtr decode_embeddings(std::optional<std::string_view> content_type,
                             std::span<const std::byte> body, const DecodeLimits& limits,
                             JsonDocument& memory, EmbeddingsRequest& request);

// Appends the answer: `vectors` is float32 [row_count, hidden].
void encode_embeddings(std::span<const float> vectors, int64_t row_count, std::string_view model,
                       int64_t token_count, bool base64, std::string& out);

}  // namespace pelton
