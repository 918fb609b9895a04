// The binder over texts. Messages are those of pyserver/pelton/text/tokenizer.py.
#include <memory>

#include "tests/native/front/bind_requests.h"

namespace pelton {
namespace {

using Ids = std::vector<int32_t>;

// "a b" is 2 (a sentence begins), 4, 5, 3 (it ends).
ModelContract text_encoder() {
  ModelContract contract;
  contract.inputs = {{"text", DType::kBytes, {-1}}};
  contract.alternatives = {{"input_ids", DType::kInt64, {-1, -1}},
                           {"attention_mask", DType::kInt64, {-1, -1}}};
  contract.outputs = {{"hidden", DType::kFp32, {-1, 4}}, {"embedding", DType::kFp32, {-1, 4}}};
  contract.encoder.emplace();
  contract.encoder->positions_max = 8;
  contract.encoder->vocabulary_size = 6;
  WordPiece::Options options;
  options.vocabulary = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"};
  options.prefix = {2};
  options.suffix = {3};
  Result<std::unique_ptr<const WordPiece>> tokenizer = WordPiece::create(std::move(options));
  EXPECT_OK(tokenizer);
  contract.encoder->tokenizer = std::move(tokenizer).value();
  contract.encoder->tokens_max = 4;
  contract.encoder->text_bytes_max = 12;
  return contract;
}

ProblemPtr bind_bytes(const ModelContract& contract, const std::vector<std::string_view>& texts,
                      BoundRequest& bound) {
  RequestBuilder builder;
  builder.add_texts("text", {static_cast<int64_t>(texts.size())}, texts);
  return bind_infer(contract, builder.request(), bound);
}

// One text in a request of the protocol, and as a string of the embeddings API.
std::string bytes_problem(std::string_view text) {
  BoundRequest bound;
  const ProblemPtr problem = bind_bytes(text_encoder(), {"a", text}, bound);
  return problem == nullptr ? "none" : problem->message;
}
std::string string_problem(std::string_view text) {
  BoundRequest bound;
  const std::string_view texts[] = {"a", text};
  const ProblemPtr problem = bind_texts(text_encoder(), texts, std::nullopt, bound);
  return problem == nullptr ? "none" : problem->message;
}

TEST(texts_become_rows_of_ids) {
  BoundRequest bound;
  ASSERT(bind_bytes(text_encoder(), {"a b", "", "A"}, bound) == nullptr);
  EXPECT_EQ(bound.row_count, 3);
  EXPECT_EQ(bound.token_count, 9);
  EXPECT(bound.ids == (Ids{2, 4, 5, 3, 2, 3, 2, 4, 3}));
  EXPECT(bound.lengths == (Ids{4, 2, 3}));
  EXPECT(bound.outputs == (Ids{0, 1}));
  EXPECT_EQ(bound.truncated, 0);
  EXPECT_EQ(element<int32_t>(bound.inputs.front(), 1), 4);
}

TEST(embeddings_want_the_embedding_alone) {
  BoundRequest bound;
  const std::string_view texts[] = {"a"};
  ASSERT(bind_texts(text_encoder(), texts, std::nullopt, bound) == nullptr);
  EXPECT(bound.outputs == (Ids{1}));
  EXPECT_EQ(bound.inputs.size(), 1);
}

TEST(requests_of_no_texts_are_legal) {
  BoundRequest bound;
  ASSERT(bind_bytes(text_encoder(), {}, bound) == nullptr);
  EXPECT_EQ(bound.row_count, 0);
}

TEST(texts_over_the_limit_of_bytes_are_too_large) {
  EXPECT_EQ(bytes_problem("aaaaaaaaaaaaa"),
            "text[1]: expected a text of at most 12 bytes, got 13 or more");
  EXPECT_EQ(string_problem("aaaaaaaaaaaaa"),
            "text[1]: expected a text of at most 12 bytes, got 13 or more");
  // Strings are measured by their characters first, then by their bytes.
  EXPECT_EQ(string_problem("\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4\u00e4"),
            "text[1]: expected a text of at most 12 bytes, got 14 or more");
  EXPECT_EQ(string_problem("\u00e4aaaaaaaaaaaaa"),
            "text[1]: expected a text of at most 12 bytes, got 14 or more");
  BoundRequest bound;
  const ProblemPtr problem = bind_bytes(text_encoder(), {"aaaaaaaaaaaaa"}, bound);
  ASSERT(problem != nullptr);
  EXPECT(problem->kind == ProblemKind::kPayloadTooLarge);
  EXPECT_EQ(problem->tensor.value_or(""), "text");
  EXPECT_EQ(problem->field.value_or(""), "text[0]");
  EXPECT_EQ(problem->expected.value_or(""), "at most 12 bytes");
  EXPECT_EQ(problem->got.value_or(""), "13 bytes or more");
}

TEST(texts_are_utf8_without_nul) {
  EXPECT_EQ(bytes_problem("ab\xc3"), "text[1]: expected UTF-8, got something else at byte 2");
  EXPECT_EQ(bytes_problem("\xff"), "text[1]: expected UTF-8, got something else at byte 0");
  EXPECT_EQ(bytes_problem(std::string_view("\u00e4\0b", 4)),
            "text[1]: expected a text without NUL, got one at character 1");
  EXPECT_EQ(string_problem(std::string_view("a\0", 2)),
            "text[1]: expected a text without NUL, got one at character 1");
  EXPECT_EQ(bytes_problem("\u00e4"), "none");
}

TEST(texts_over_the_limit_of_tokens_are_refused_or_cut) {
  ModelContract contract = text_encoder();
  BoundRequest bound;
  ProblemPtr problem = bind_bytes(contract, {"a", "a b a"}, bound);
  ASSERT(problem != nullptr);
  EXPECT_EQ(problem->message,
            "text[1]: expected at most 4 tokens, got 5; send \"truncate\": true to have long texts "
            "cut");
  EXPECT_EQ(problem->got.value_or(""), "5 tokens");
  bound.clear();
  problem = bind_bytes(contract, std::vector<std::string_view>(7, "a b a b"), bound);
  ASSERT(problem != nullptr);
  EXPECT_EQ(problem->message,
            "text[0]: expected at most 4 tokens, got 6 (rows over the limit: 0, 1, 2, 3, 4, "
            "\u2026); send \"truncate\": true to have long texts cut");
  bound.clear();
  contract.encoder->truncate = true;
  ASSERT(bind_bytes(contract, {"a", "b a b"}, bound) == nullptr);
  EXPECT(bound.ids == (Ids{2, 4, 3, 2, 5, 4, 3}));
  EXPECT_EQ(bound.truncated, 1);
  bound.clear();
  RequestBuilder refusing;
  refusing.add_texts("text", {1}, {"a b a"}).truncate(false);
  EXPECT(bind_infer(contract, refusing.request(), bound) != nullptr);
}

TEST(a_model_of_texts_takes_ids_in_their_place_but_not_both) {
  const ModelContract contract = text_encoder();
  BoundRequest bound;
  RequestBuilder ids;
  ids.add("input_ids", DType::kInt32, {1, 2}, Ids{4, 5});
  ASSERT(bind_infer(contract, ids.request(), bound) == nullptr);
  EXPECT(bound.ids == (Ids{4, 5}));
  ids.add_texts("text", {1}, {"a"});
  bound.clear();
  expect_refused({__FILE__, __LINE__}, bind_infer(contract, ids.request(), bound),
                 "input 'input_ids': the model has no such input; its inputs are text", "input_ids",
                 "text", "input_ids");
  RequestBuilder shaped;
  shaped.add_texts("text", {1, 1}, {"a"});
  EXPECT_WRONG(bind_infer(contract, shaped.request(), bound), "text", "shape [-1]", "[1, 1]");
}

}  // namespace
}  // namespace pelton
