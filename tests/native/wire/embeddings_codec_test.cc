// What the Python tests, which hold the codec against its oracle, do not see: views, and
// allocations.
#include "csrc/wire/embeddings_codec.h"

#include <string>
#include <string_view>
#include <vector>

#include "tests/native/test.h"
#include "tests/native/wire/allocations.h"

namespace pelton {
namespace {

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(embeddings_texts_are_views_and_ids_lie_one_after_the_other) {
  JsonDocument memory;
  EmbeddingsRequest request;
  const std::string texts = R"({"model": "m", "input": ["one", "t\u0077o"], "truncate": true})";
  ASSERT(!decode_embeddings(std::nullopt, bytes_of(texts), {}, memory, request));
  EXPECT_EQ(request.texts, std::vector<std::string_view>{"one", "two"});
  EXPECT(request.texts[0].data() == texts.data() + texts.find("one"));
  EXPECT(request.truncate == true);
  EXPECT(!request.base64);

  request.clear();
  const std::string ids = R"({"model": "m", "input": [[1, 2], [3]], "encoding_format": "base64"})";
  ASSERT(!decode_embeddings("application/json", bytes_of(ids), {}, memory, request));
  EXPECT_EQ(request.ids, std::vector<int32_t>{1, 2, 3});
  EXPECT_EQ(request.lengths, std::vector<int32_t>{2, 1});
  EXPECT(request.texts.empty());
  EXPECT(request.base64);
  EXPECT(!request.truncate);
}

TEST(embeddings_decoding_and_encoding_allocate_nothing_once_warm) {
  JsonDocument memory;
  EmbeddingsRequest request;
  std::string out;
  const std::string body =
      R"({"model": "m", "input": ["a text", "\u00e9"], "encoding_format": "base64"})";
  const std::vector<float> vectors(2 * 384, 0.1f);
  const auto turn = [&] {
    request.clear();
    if (decode_embeddings("application/json", bytes_of(body), {}, memory, request)) return false;
    for (const bool base64 : {true, false}) {
      out.clear();
      encode_embeddings(vectors, 2, request.model, 7, base64, out);
    }
    return true;
  };
  ASSERT(turn());
  const int64_t before = testing::allocation_count();
  ASSERT(turn());
  EXPECT_EQ(testing::allocation_count() - before, 0);
}

TEST(embeddings_answer_is_the_document_of_openai) {
  std::string out;
  const std::vector<float> vectors = {1.0f, 0.1f};
  encode_embeddings(vectors, 2, "m\"", 5, false, out);
  EXPECT_EQ(out, R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0]},)"
                 R"({"object":"embedding","index":1,"embedding":[0.1]}],"model":"m\"",)"
                 R"("usage":{"prompt_tokens":5,"total_tokens":5}})");
  out.clear();
  encode_embeddings(vectors, 1, "m", 5, true, out);
  EXPECT_EQ(out, R"({"object":"list","data":[{"object":"embedding","index":0,)"
                 R"("embedding":"AACAP83MzD0="}],"model":"m",)"
                 R"("usage":{"prompt_tokens":5,"total_tokens":5}})");
}

}  // namespace
}  // namespace pelton
