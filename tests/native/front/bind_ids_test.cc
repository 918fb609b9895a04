// The binder over token ids. Messages are those of pyserver/pelton/backends/_encoder.py.
#include "tests/native/front/bind_requests.h"

namespace pelton {
namespace {

using Ids = std::vector<int64_t>;
using Narrow = std::vector<int32_t>;

ModelContract encoder(bool takes_types = true) {
  ModelContract contract;
  contract.inputs = {{"input_ids", DType::kInt64, {-1, -1}},
                     {"attention_mask", DType::kInt64, {-1, -1}}};
  if (takes_types) contract.inputs.push_back({"token_type_ids", DType::kInt64, {-1, -1}});
  contract.outputs = {{"hidden", DType::kFp32, {-1, 4}}, {"embedding", DType::kFp32, {-1, 4}}};
  contract.encoder.emplace();
  contract.encoder->positions_max = 4;
  contract.encoder->vocabulary_size = 10;
  contract.encoder->token_types = takes_types ? 2 : 1;
  contract.encoder->ids_index = takes_types ? 1 : 0;
  contract.encoder->types_index = takes_types ? 0 : -1;
  return contract;
}

ProblemPtr bind(const ModelContract& contract, const RequestBuilder& builder,
                BoundRequest* out = nullptr) {
  BoundRequest bound;
  ProblemPtr problem = bind_infer(contract, builder.request(), bound);
  if (out != nullptr) *out = std::move(bound);
  return problem;
}

RequestBuilder ids_of(const std::vector<int64_t>& shape, const Ids& ids) {
  RequestBuilder builder;
  builder.add("input_ids", DType::kInt64, shape, ids);
  return builder;
}

TEST(padded_ids_become_ragged_in_the_plans_order) {
  RequestBuilder builder = ids_of({2, 3}, {1, 2, 3, 4, -1, 99});
  builder.add("attention_mask", DType::kInt32, {2, 3}, Narrow{1, 1, 1, 1, 0, 0});
  builder.add("token_type_ids", DType::kInt64, {2, 3}, Ids{0, 0, 1, 1, 7, 7});
  BoundRequest bound;
  ASSERT(bind(encoder(), builder, &bound) == nullptr);
  EXPECT_EQ(bound.row_count, 2);
  EXPECT_EQ(bound.token_count, 4);
  EXPECT(bound.lengths == (Narrow{3, 1}));
  EXPECT(bound.ids == (Narrow{1, 2, 3, 4}));
  EXPECT(bound.types == (Narrow{0, 0, 1, 1}));
  EXPECT_EQ(bound.inputs.size(), 2);
  EXPECT_EQ(element<int32_t>(bound.inputs[0], 2), 1);
  EXPECT_EQ(element<int32_t>(bound.inputs[1], 3), 4);
}

TEST(types_are_zero_where_none_came_and_dropped_where_the_plan_has_none) {
  BoundRequest bound;
  ASSERT(bind(encoder(), ids_of({1, 2}, {5, 6}), &bound) == nullptr);
  EXPECT(bound.types == (Narrow{0, 0}));
  ASSERT(bind(encoder(false), ids_of({1, 2}, {5, 6}), &bound) == nullptr);
  EXPECT(bound.types.empty());
  EXPECT_EQ(bound.inputs.size(), 1);
  RequestBuilder builder = ids_of({1, 2}, {5, 6});
  builder.add("token_type_ids", DType::kInt64, {1, 2}, Ids{0, 1});
  EXPECT_WRONG(bind(encoder(false), builder), "token_type_ids", "ids from 0 to 0", "1 at [0, 1]");
}

TEST(ids_of_no_rows_are_legal_and_rows_of_no_tokens_are_not) {
  BoundRequest bound;
  ASSERT(bind(encoder(), ids_of({0, 3}, {}), &bound) == nullptr);
  EXPECT_EQ(bound.row_count, 0);
  EXPECT_WRONG(bind(encoder(), ids_of({2, 0}, {})), "input_ids", "at least one token in each row",
               "none in row 0");
  // A legal tensor of no bytes, for which no row is made.
  EXPECT_WRONG(bind(encoder(), ids_of({int64_t{1} << 60, 0}, {})), "input_ids",
               "at least one token in each row", "none in row 0");
  RequestBuilder masked = ids_of({int64_t{1} << 60, 0}, {});
  masked.add("attention_mask", DType::kInt64, {int64_t{1} << 60, 0}, Ids{});
  EXPECT_WRONG(bind(encoder(), masked), "attention_mask", "at least one token in each row",
               "none in row 0");
}

TEST(ids_are_within_the_vocabulary_and_rows_within_the_positions) {
  EXPECT_WRONG(bind(encoder(), ids_of({2, 2}, {1, 2, 10, -1})), "input_ids", "ids from 0 to 9",
               "10 at [1, 0]");
  EXPECT_WRONG(bind(encoder(), ids_of({1, 2}, {1, -1})), "input_ids", "ids from 0 to 9",
               "-1 at [0, 1]");
  constexpr int64_t kLow = std::numeric_limits<int64_t>::min();
  EXPECT_WRONG(bind(encoder(), ids_of({1, 1}, {kLow})), "input_ids", "ids from 0 to 9",
               std::to_string(kLow) + " at [0, 0]");
  // Ids that would fit once they are cut to 32 bits.
  EXPECT_WRONG(bind(encoder(), ids_of({1, 1}, {(int64_t{1} << 32) + 1})), "input_ids",
               "ids from 0 to 9", "4294967297 at [0, 0]");
  EXPECT_WRONG(bind(encoder(), ids_of({1, 5}, {1, 1, 1, 1, 1})), "input_ids",
               "at most 4 tokens in each row", "5 in row 0");
}

TEST(masks_are_ones_and_then_zeros) {
  const auto with_mask = [](const Ids& mask, const std::vector<int64_t>& shape = {2, 2}) {
    RequestBuilder builder = ids_of({2, 2}, {1, 1, 1, 1});
    builder.add("attention_mask", DType::kInt64, shape, mask);
    return bind(encoder(), builder);
  };
  EXPECT_WRONG(with_mask({0, 1, 1, 2}), "attention_mask", "0 or 1", "2 at [1, 1]");
  EXPECT_WRONG(with_mask({1, 1, -1, 0}), "attention_mask", "0 or 1", "-1 at [1, 0]");
  EXPECT_WRONG(with_mask({1, 1, 0, 1}), "attention_mask",
               "the ones of a row before its zeros (padding on the right)",
               "a one after a zero at [1, 1]");
  EXPECT_WRONG(with_mask({1, 1, 0, 0}), "attention_mask", "at least one token in each row",
               "none in row 1");
  EXPECT_WRONG(with_mask({1, 1, 1, 1}, {4, 1}), "attention_mask", "shape [2, 2]", "[4, 1]");
}

TEST(names_datatypes_and_ranks_of_ids_are_checked) {
  RequestBuilder none;
  EXPECT_WRONG(bind(encoder(), none), "input_ids", "a tensor", "none");
  RequestBuilder text = ids_of({1, 1}, {1});
  text.add_texts("text", {1}, {"a"});
  expect_refused({__FILE__, __LINE__}, bind(encoder(), text),
                 "input 'text': it cannot come with input_ids; those that can are attention_mask, "
                 "token_type_ids",
                 "text", "input_ids, attention_mask, token_type_ids", "text");
  RequestBuilder other = ids_of({1, 1}, {1});
  other.add("x", DType::kInt64, {1, 1}, Ids{1});
  expect_refused({__FILE__, __LINE__}, bind(encoder(), other),
                 "input 'x': the model has no such input; its inputs are input_ids, "
                 "attention_mask, token_type_ids",
                 "x", "input_ids, attention_mask, token_type_ids", "x");
  RequestBuilder narrow;
  narrow.add("input_ids", DType::kUint8, {1, 1}, std::vector<uint8_t>{1});
  EXPECT_WRONG(bind(encoder(), narrow), "input_ids", "datatype INT64 or INT32", "UINT8");
  EXPECT_WRONG(bind(encoder(), ids_of({1}, {1})), "input_ids", "shape [-1, -1]", "[1]");
  RequestBuilder floats = ids_of({1, 1}, {1});
  floats.add("token_type_ids", DType::kFp32, {1, 1}, std::vector<float>{1});
  EXPECT_WRONG(bind(encoder(false), floats), "token_type_ids", "datatype INT64 or INT32", "FP32");
}

TEST(rows_of_ids_without_padding) {
  BoundRequest bound;
  ASSERT(bind_ids(encoder(), Narrow{1, 2, 3}, Narrow{1, 2}, bound) == nullptr);
  EXPECT_EQ(bound.row_count, 2);
  EXPECT_EQ(bound.token_count, 3);
  EXPECT(bound.types == (Narrow{0, 0, 0}));
  EXPECT(bound.outputs == (std::vector<int>{1}));  // the embedding alone
  const auto bind_rows = [](const Narrow& ids, const Narrow& lengths) {
    BoundRequest fresh;
    return bind_ids(encoder(), ids, lengths, fresh);
  };
  EXPECT_WRONG(bind_rows({1, 2, 10}, {1, 2}), "input_ids", "ids from 0 to 9", "10 at [1, 1]");
  EXPECT_WRONG(bind_rows({1}, {1, 0}), "input_ids", "at least one token in each row",
               "none in row 1");
  EXPECT_WRONG(bind_rows({1, 1, 1, 1, 1}, {5}), "input_ids", "at most 4 tokens in each row",
               "5 in row 0");
}

TEST(a_cleared_request_keeps_a_bounded_part_of_its_memory) {
  ModelContract contract = encoder();
  contract.encoder->positions_max = 1 << 20;
  BoundRequest bound;
  const auto bind_tokens = [&](size_t count) {
    const Narrow ids(count, 1);
    return bind_ids(contract, ids, Narrow{static_cast<int32_t>(count)}, bound);
  };
  ASSERT(bind_tokens(1000) == nullptr);
  bound.clear();
  EXPECT(bound.ids.empty() && bound.outputs.empty() && bound.row_count == 0);
  EXPECT(bound.ids.capacity() >= 1000);
  ASSERT(bind_tokens(1 << 20) == nullptr);
  bound.clear();
  EXPECT(bound.ids.capacity() <= 16 << 10);
  EXPECT(bound.types.capacity() <= 16 << 10);
}

}  // namespace
}  // namespace pelton
