// Requests and answers, one of each kind, and that the path of a request allocates nothing after
// warm-up. That the codecs agree with the Python ones is tests/python/codec/test_native_infer.py's
// to show.
#include "csrc/wire/infer_codec.h"

#include <cstring>
#include <string>
#include <vector>

#include "tests/native/test.h"
#include "tests/native/wire/allocations.h"

namespace pelton {
namespace {

constexpr std::string_view kBinaryHead =
    R"({"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}],)"
    R"("parameters":{"binary_data_output":true,"own":1}})";
constexpr std::string_view kJsonBody =
    R"({"id":"7","inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[[1,-2.5],[1e-3,NaN]]},)"
    R"({"name":"t","shape":[2],"datatype":"BYTES","data":["a","\u00e9"]}],)"
    R"("outputs":[{"name":"y","parameters":{"binary_data":true}},{"name":"z"}]})";

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

float float_at(const TensorView& tensor, size_t index) {
  float value = 0;
  std::memcpy(&value, tensor.data.data() + index * sizeof(value), sizeof(value));
  return value;
}

struct Decoder {
  DecodeMemory memory;
  InferRequest request;
  DecodeLimits limits;

  ProblemPtr decode(const FormatFields& fields, std::string_view body,
                    std::span<const TensorSpec> specs = {}) {
    return decode_infer(fields, bytes_of(body), limits, specs, memory, request);
  }
};

std::string binary_body() { return std::string(kBinaryHead) + std::string(16, '\0'); }

FormatFields binary_fields(const std::string& length) {
  FormatFields fields;
  fields.inference_header_content_length = length;
  return fields;
}

TEST(raw_tensors_are_views_of_the_body) {
  Decoder decoder;
  const std::string body = binary_body();
  const std::string length = std::to_string(kBinaryHead.size());
  ASSERT(!decoder.decode(binary_fields(length), body));
  const InferRequest& request = decoder.request;
  ASSERT_EQ(request.inputs.size(), 1);
  EXPECT_EQ(request.inputs[0].name, "x");
  EXPECT(reinterpret_cast<const char*>(request.inputs[0].data.data()) ==
         body.data() + kBinaryHead.size());
  EXPECT_EQ(request.inputs[0].data.size(), 16);
  EXPECT(request.binary_output_default);
  ASSERT_EQ(request.parameters.size(), 1);
  EXPECT(std::get<int64_t>(request.parameters[0].value) == 1);
}

TEST(json_numbers_and_strings_become_tensors) {
  Decoder decoder;
  ASSERT(!decoder.decode({}, kJsonBody));
  const InferRequest& request = decoder.request;
  EXPECT_EQ(*request.id, "7");
  ASSERT_EQ(request.inputs.size(), 2);
  EXPECT_EQ(float_at(request.inputs[0], 1), -2.5F);
  EXPECT_EQ(float_at(request.inputs[0], 2), 1e-3F);
  EXPECT(float_at(request.inputs[0], 3) != float_at(request.inputs[0], 3));
  ASSERT_EQ(request.inputs[1].elements.size(), 2);
  EXPECT_EQ(request.inputs[1].elements[1], "\xC3\xA9");
  ASSERT_EQ(request.outputs.size(), 2);
  EXPECT(request.outputs[0].binary && !request.outputs[1].binary);
}

TEST(a_body_without_a_head_is_the_only_input) {
  Decoder decoder;
  const std::vector<TensorSpec> specs = {{"x", DType::kInt16, {-1, 3}}};
  ASSERT(!decoder.decode(binary_fields("0"), "abcdef", specs));
  EXPECT_EQ(decoder.request.inputs[0].shape.dims[1], 3);
  EXPECT(decoder.request.binary_output_default);
  EXPECT(decoder.decode(binary_fields("0"), "abcd", specs) != nullptr);
  EXPECT(decoder.decode(binary_fields("0"), "abcdef") != nullptr);
}

TEST(shared_memory_and_classification_are_left_to_python) {
  Decoder decoder;
  for (const char* body : {R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT8","parameters":)"
                           R"({"shared_memory_region":"r"}}]})",
                           R"({"inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}],)"
                           R"("outputs":[{"name":"y","parameters":{"classification":2}}]})"}) {
    EXPECT(!decoder.decode({}, body));
    EXPECT(decoder.request.is_for_python);
  }
  ASSERT(!decoder.decode({}, kJsonBody));
  EXPECT(!decoder.request.is_for_python);
}

TEST(a_claimed_size_is_checked_before_memory_is_taken) {
  Decoder decoder;
  const int64_t before = decoder.request.scratch.bytes();
  EXPECT(decoder.decode({}, R"({"inputs":[{"name":"x","shape":[2147483648],"datatype":"FP64",)"
                            R"("data":[1]}]})") != nullptr);
  EXPECT(decoder.request.scratch.bytes() - before < 10'000);
}

struct Encoder {
  std::vector<float> values = {1, 0.1F, -2};
  AnswerTensor output;
  std::string out;
  EncodedHead head;

  Encoder() {
    output.tensor.name = "y";
    output.tensor.shape.append(3);
    output.tensor.data = std::as_bytes(std::span(values));
  }
  ProblemPtr encode(const AnswerFormat& format) {
    InferAnswer answer;
    answer.model_name = "m";
    answer.model_version = "1";
    answer.outputs = {&output, 1};
    out.clear();
    return encode_infer(answer, format, out, head);
  }
};

TEST(answers_in_json_and_with_raw_outputs) {
  Encoder encoder;
  ASSERT(!encoder.encode({}));
  EXPECT_EQ(encoder.out,
            R"({"model_name":"m","model_version":"1","outputs":[{"name":"y","shape":[3],)"
            R"("datatype":"FP32","data":[1.0,0.1,-2.0]}]})");
  EXPECT_EQ(encoder.head.content_type, "application/json");
  EXPECT_EQ(encoder.head.json_bytes, -1);
  encoder.output.binary = true;
  ASSERT(!encoder.encode({}));
  EXPECT_EQ(encoder.head.content_type, "application/octet-stream");
  EXPECT_EQ(encoder.out.size(), encoder.head.json_bytes + 12);
  AnswerFormat json_only;
  json_only.is_json_only = true;
  ASSERT(!encoder.encode(json_only));
  EXPECT_EQ(encoder.head.json_bytes, -1);
}

TEST(an_answer_that_is_refused_leaves_nothing_behind) {
  Encoder encoder;
  const std::string_view element = "\xFF";
  encoder.output.tensor.dtype = DType::kBytes;
  encoder.output.tensor.elements = {&element, 1};
  const ProblemPtr problem = encoder.encode({});
  ASSERT(problem);
  EXPECT_EQ(*problem->expected, "binary_data: true");
  EXPECT(encoder.out.empty());
}

TEST(requests_and_answers_allocate_nothing_after_warm_up) {
  Decoder decoder;
  Encoder encoder;
  const std::string body = binary_body();
  const std::string length = std::to_string(kBinaryHead.size());
  const auto run = [&] {
    EXPECT(!decoder.decode(binary_fields(length), body));
    EXPECT(!decoder.decode({}, kJsonBody));
    AnswerFormat format;
    EXPECT(!answer_format({}, BodyFormat::kJson, format));
    encoder.output.binary = !encoder.output.binary;
    EXPECT(!encoder.encode(format));
  };
  for (int i = 0; i < 4; ++i) run();
  const int64_t before = testing::allocation_count();
  for (int i = 0; i < 100; ++i) run();
  EXPECT_EQ(testing::allocation_count() - before, 0);
}

}  // namespace
}  // namespace pelton
