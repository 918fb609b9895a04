// The binder over dense models. Messages are those of pyserver/pelton/backends/_dense.py.
#include "csrc/front/bind_dense.h"

#include <optional>

#include "tests/native/front/bind_requests.h"

namespace pelton {
namespace {

using Floats = std::vector<float>;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

ModelContract two_inputs() {
  ModelContract contract;
  contract.inputs = {{"x", DType::kFp32, {-1, 2}}, {"scale", DType::kInt64, {-1}}};
  contract.outputs = {{"y", DType::kFp32, {-1}}, {"z", DType::kFp32, {-1}}};
  return contract;
}

RequestBuilder& add_x(RequestBuilder& builder, int64_t rows = 2) {
  return builder.add("x", DType::kFp32, {rows, 2}, Floats(static_cast<size_t>(rows) * 2, 1.5f));
}
RequestBuilder& add_scale(RequestBuilder& builder, int64_t rows = 2) {
  return builder.add("scale", DType::kInt64, {rows},
                     std::vector<int64_t>(static_cast<size_t>(rows), 7));
}

ProblemPtr bind(const ModelContract& contract, const RequestBuilder& builder,
                BoundRequest* out = nullptr) {
  BoundRequest bound;
  ProblemPtr problem = bind_infer(contract, builder.request(), bound);
  if (out != nullptr) *out = std::move(bound);
  return problem;
}

TEST(dense_inputs_are_bound_in_the_models_order_without_a_copy) {
  RequestBuilder builder;
  add_x(add_scale(builder));
  BoundRequest bound;
  ASSERT(bind(two_inputs(), builder, &bound) == nullptr);
  EXPECT_EQ(bound.row_count, 2);
  EXPECT_EQ(bound.token_count, 2);
  EXPECT(bound.lengths.empty());
  EXPECT(bound.inputs.front() == builder.request().inputs.back().data.data());
  EXPECT(bound.inputs.back() == builder.request().inputs.front().data.data());
  EXPECT(bound.outputs == (std::vector<int>{0, 1}));
}

TEST(dense_requests_of_no_rows_are_legal) {
  RequestBuilder builder;
  add_scale(add_x(builder, 0), 0);
  BoundRequest bound;
  ASSERT(bind(two_inputs(), builder, &bound) == nullptr);
  EXPECT_EQ(bound.row_count, 0);
}

TEST(dense_names_are_those_of_the_model) {
  RequestBuilder missing;
  EXPECT_WRONG(bind(two_inputs(), add_x(missing)), "scale", "a tensor", "none");
  RequestBuilder twice;
  EXPECT_WRONG(bind(two_inputs(), add_x(add_x(twice))), "x", "it once", "it twice");
  RequestBuilder unknown;
  add_scale(add_x(unknown)).add("it's", DType::kFp32, {1}, Floats{1});
  expect_refused({__FILE__, __LINE__}, bind(two_inputs(), unknown),
                 "input \"it's\": the model has no such input; its inputs are x, scale", "it's",
                 "x, scale", "it's");
}

TEST(dense_datatypes_and_shapes_are_those_of_the_model) {
  RequestBuilder dtype;
  add_scale(dtype).add("x", DType::kFp64, {2, 2}, std::vector<double>(4));
  EXPECT_WRONG(bind(two_inputs(), dtype), "x", "datatype FP32", "FP64");
  RequestBuilder shape;
  add_scale(shape).add("x", DType::kFp32, {2, 3}, Floats(6));
  EXPECT_WRONG(bind(two_inputs(), shape), "x", "shape [-1, 2]", "[2, 3]");
  RequestBuilder rank;
  add_scale(rank).add("x", DType::kFp32, {2}, Floats(2));
  EXPECT_WRONG(bind(two_inputs(), rank), "x", "shape [-1, 2]", "[2]");
  RequestBuilder bytes;
  bytes.add_texts("x", {1, 1}, {"a"});
  EXPECT_WRONG(bind(two_inputs(), bytes), "x", "datatype FP32", "BYTES");
}

TEST(dense_inputs_have_the_same_rows) {
  RequestBuilder builder;
  add_scale(add_x(builder), 3);
  EXPECT_WRONG(bind(two_inputs(), builder), "scale", "2 rows, as input 'x' has", "3");
}

TEST(dense_values_are_finite_unless_the_model_takes_others) {
  ModelContract contract = two_inputs();
  const std::pair<float, const char*> cases[] = {{kNan, "nan"}, {kInf, "inf"}, {-kInf, "-inf"}};
  for (const auto& [value, name] : cases) {
    RequestBuilder builder;
    add_scale(builder).add("x", DType::kFp32, {2, 2}, Floats{0, 1, 2, value});
    contract.allow_non_finite = false;
    EXPECT_WRONG(bind(contract, builder), "x", "finite numbers", std::string(name) + " at [1, 1]");
    contract.allow_non_finite = true;
    EXPECT(bind(contract, builder) == nullptr);
  }
}

TEST(dense_outputs_are_wanted_by_name_and_in_that_order) {
  BoundRequest bound;
  RequestBuilder builder;
  add_scale(add_x(builder)).want("z").want("y");
  ASSERT(bind(two_inputs(), builder, &bound) == nullptr);
  EXPECT(bound.outputs == (std::vector<int>{1, 0}));
  RequestBuilder unknown;
  add_scale(add_x(unknown)).want("y").want("nope");
  expect_refused({__FILE__, __LINE__}, bind(two_inputs(), unknown),
                 "output 'nope': the model has no such output; its outputs are y, z", "nope",
                 "y, z", "nope");
  RequestBuilder twice;
  add_scale(add_x(twice)).want("z").want("y").want("z");
  expect_refused({__FILE__, __LINE__}, bind(two_inputs(), twice),
                 "output 'z': expected it once, got it twice", "z", "each output once", "twice");
}

template <typename Bits>
void expect_all_found(DType dtype, Bits largest, std::initializer_list<Bits> non_finite) {
  for (const size_t count : {1, 7, 16, 31, 32, 33, 64, 100}) {
    std::vector<std::byte> memory(1 + count * sizeof(Bits));
    std::byte* const data = memory.data() + 1;
    const auto set = [data](size_t i, Bits bits) {
      std::memcpy(data + i * sizeof(Bits), &bits, sizeof(Bits));
    };
    const std::span<const std::byte> view(data, count * sizeof(Bits));
    constexpr auto kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
    for (size_t i = 0; i < count; ++i) set(i, i % 2 == 0 ? largest : Bits(largest | kSign));
    EXPECT(!first_non_finite(dtype, view).has_value());
    for (const Bits bits : non_finite) {
      for (size_t i = 0; i < count; ++i) {
        set(i, bits);
        EXPECT_EQ(first_non_finite(dtype, view).value_or(count), i);
        set(i, largest);
      }
    }
  }
}

TEST(non_finite_values_are_found_at_every_place_of_every_width) {
  expect_all_found<uint16_t>(DType::kFp16, 0x7BFF, {0x7C00, 0xFC00, 0x7C01, 0xFFFF});
  expect_all_found<uint16_t>(DType::kBf16, 0x7F7F, {0x7F80, 0xFF80, 0x7F81, 0xFFFF});
  expect_all_found<uint32_t>(DType::kFp32, 0x7F7F'FFFF, {0x7F80'0000, 0xFF80'0000, 0x7F80'0001});
  expect_all_found<uint64_t>(DType::kFp64, 0x7FEF'FFFF'FFFF'FFFF,
                             {0x7FF0'0000'0000'0000, 0xFFF0'0000'0000'0001});
}

TEST(integers_have_no_non_finite_values) {
  const std::vector<std::byte> ones(64, std::byte{0xFF});
  EXPECT(!first_non_finite(DType::kInt32, ones).has_value());
  EXPECT(!first_non_finite(DType::kBool, ones).has_value());
}

// Found by the oracle: a dense model with an input of this name takes ids, and is asked twice.
TEST(dense_model_with_an_input_named_input_ids_still_wants_its_own_datatype) {
  ModelContract contract;
  contract.inputs = {{"input_ids", DType::kFp32, {-1}}};
  contract.outputs = {{"y", DType::kFp32, {-1}}};
  RequestBuilder floats;
  floats.add("input_ids", DType::kFp32, {1}, Floats{1});
  EXPECT_WRONG(bind(contract, floats), "input_ids", "datatype INT64 or INT32", "FP32");
  RequestBuilder ids;
  ids.add("input_ids", DType::kInt64, {1}, std::vector<int64_t>{1});
  EXPECT_WRONG(bind(contract, ids), "input_ids", "datatype FP32", "INT64");
}

}  // namespace
}  // namespace pelton
