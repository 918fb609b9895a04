// Bodies of /v1/embeddings: the input is the body.
#include "csrc/wire/embeddings_codec.h"

#include <numeric>

#include "tests/fuzz/infer_checks.h"

namespace pelton::fuzz {
namespace {

uint64_t check_request(const EmbeddingsRequest& request, const DecodeLimits& limits) {
  FUZZ_EXPECT(request.texts.empty() != request.lengths.empty());
  const size_t count = std::max(request.texts.size(), request.lengths.size());
  FUZZ_EXPECT(static_cast<int64_t>(count) <= limits.embedding_items_max);
  const int64_t total = std::accumulate(request.lengths.begin(), request.lengths.end(), int64_t{0});
  FUZZ_EXPECT(total == static_cast<int64_t>(request.ids.size()));
  Digest digest;
  digest.add(request.model);
  for (const std::string_view text : request.texts) digest.add(text);
  for (const int32_t id : request.ids) digest.add(static_cast<uint64_t>(id));
  for (const int32_t length : request.lengths) {
    FUZZ_EXPECT(length > 0 && length <= limits.embedding_tokens_max);
    digest.add(static_cast<uint64_t>(length));
  }
  FUZZ_EXPECT(request.dimensions.value_or(1) >= 1);
  digest.add(static_cast<uint64_t>(request.dimensions.value_or(0)));
  digest.add(request.base64);
  return digest.value();
}

void check(std::string_view input, const DecodeLimits& limits) {
  const ExactCopy body(input);
  JsonDocument memory;
  EmbeddingsRequest request;
  std::array<uint64_t, 2> digests{};
  for (uint64_t& value : digests) {
    request.clear();
    const ProblemPtr problem =
        decode_embeddings(std::nullopt, body.bytes(), limits, memory, request);
    FUZZ_EXPECT(request.scratch.bytes() <= memory_max(input.size()));
    FUZZ_EXPECT(request.ids.capacity() * sizeof(int32_t) <= memory_max(input.size()));
    if (problem) {
      check_problem(*problem);
      Digest digest;
      add_problem(*problem, digest);
      value = digest.value();
    } else {
      value = check_request(request, limits);
    }
  }
  FUZZ_EXPECT(digests[0] == digests[1]);
}

}  // namespace
}  // namespace pelton::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  pelton::fuzz::check(body, {});
  pelton::fuzz::check(body, pelton::fuzz::small_limits());
  return 0;
}
