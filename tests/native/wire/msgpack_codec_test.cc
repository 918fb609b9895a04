// What the Python tests, which hold the codec against its oracle, do not see: views instead of
// copies, memory, allocations, and every cut of a body at its exact end.
#include "csrc/wire/msgpack_codec.h"

#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/wire/msgpack_writer.h"
#include "tests/native/test.h"
#include "tests/native/wire/allocations.h"

namespace pelton {
namespace {

void append_head(std::string_view datatype, std::vector<int64_t> shape, std::string& out) {
  append_msg_map(4, out);
  append_msg_str("name", out);
  append_msg_str("x", out);
  append_msg_str("datatype", out);
  append_msg_str(datatype, out);
  append_msg_str("shape", out);
  append_msg_array(shape.size(), out);
  for (const int64_t dim : shape) append_msg_int(dim, out);
  append_msg_str("data", out);
}

// One input of 16 floats, as bin.
std::string small_request() {
  std::string body;
  append_msg_map(2, body);
  append_msg_str("id", body);
  append_msg_str("request-1", body);
  append_msg_str("inputs", body);
  append_msg_array(1, body);
  append_head("FP32", {1, 16}, body);
  append_msg_bin(64, body);
  for (int i = 0; i < 64; ++i) body += static_cast<char>(i);
  return body;
}

// The same with the floats as numbers, and nested.
std::string request_of_numbers() {
  std::string body;
  append_msg_map(1, body);
  append_msg_str("inputs", body);
  append_msg_array(1, body);
  append_head("FP32", {2, 2}, body);
  append_msg_array(2, body);
  for (int row = 0; row < 2; ++row) {
    append_msg_array(2, body);
    append_msg_head(0xCB, 0x3FF8000000000000, 8, body);  // 1.5
    append_msg_int(-2 + row, body);
  }
  return body;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

bool lies_in(const void* place, std::string_view text) {
  const auto at = reinterpret_cast<uintptr_t>(place);
  const auto begin = reinterpret_cast<uintptr_t>(text.data());
  return begin <= at && at < begin + text.size();
}

TEST(msgpack_tensors_are_views_of_the_body) {
  const std::string body = small_request();
  InferRequest request;
  ASSERT(!decode_msgpack_infer(bytes_of(body), {}, {}, request));
  ASSERT_EQ(request.inputs.size(), 1);
  const TensorView& input = request.inputs[0];
  EXPECT_EQ(input.name, "x");
  EXPECT(input.dtype == DType::kFp32);
  ASSERT_EQ(input.shape.rank, 2);
  EXPECT_EQ(input.shape.dims[0], 1);
  EXPECT_EQ(input.shape.dims[1], 16);
  EXPECT_EQ(input.data.size(), 64);
  EXPECT(lies_in(input.data.data(), body));
  EXPECT(lies_in(input.name.data(), body));
  EXPECT(lies_in(request.id->data(), body));
  EXPECT_EQ(request.scratch.bytes(), 0);
}

TEST(msgpack_numbers_are_put_into_scratch) {
  const std::string body = request_of_numbers();
  InferRequest request;
  ASSERT(!decode_msgpack_infer(bytes_of(body), {}, {}, request));
  float values[4];
  ASSERT_EQ(request.inputs[0].data.size(), sizeof values);
  std::memcpy(values, request.inputs[0].data.data(), sizeof values);
  EXPECT_EQ(std::vector<float>(values, values + 4), std::vector<float>{1.5f, -2, 1.5f, -1});
}

TEST(msgpack_decoding_and_encoding_allocate_nothing_once_warm) {
  const std::string bodies[] = {small_request(), request_of_numbers()};
  InferRequest request;
  std::string out;
  const auto turn = [&](const std::string& body) {
    request.clear();
    if (decode_msgpack_infer(bytes_of(body), {}, {}, request)) return false;
    const AnswerTensor output{request.inputs[0], true};
    InferAnswer answer;
    answer.model_name = "m";
    answer.model_version = "1";
    answer.outputs = {&output, 1};
    out.clear();
    encode_msgpack_infer(answer, out);
    return true;
  };
  for (const std::string& body : bodies) ASSERT(turn(body));
  const int64_t before = testing::allocation_count();
  for (const std::string& body : bodies) ASSERT(turn(body));
  EXPECT_EQ(testing::allocation_count() - before, 0);
}

TEST(msgpack_cut_anywhere_is_refused_within_its_bytes) {
  for (const std::string& body : {small_request(), request_of_numbers()}) {
    for (size_t size = 0; size < body.size(); ++size) {
      // On the heap at its exact size, so that a sanitizer sees a read behind it.
      const std::vector<char> cut(body.begin(), body.begin() + static_cast<ptrdiff_t>(size));
      InferRequest request;
      const ProblemPtr problem =
          decode_msgpack_infer(std::as_bytes(std::span(cut)), {}, {}, request);
      ASSERT(problem != nullptr);
      EXPECT(problem->kind == ProblemKind::kInvalidInput);
    }
  }
}

TEST(msgpack_with_bytes_changed_never_reads_beyond) {
  std::mt19937_64 random(testing::seed());
  InferRequest request;
  for (int round = 0; round < 20'000; ++round) {
    const std::string body = round % 2 == 0 ? small_request() : request_of_numbers();
    std::vector<char> changed(body.begin(), body.end());
    for (uint64_t i = 0; i <= random() % 4; ++i) {
      changed[random() % changed.size()] = static_cast<char>(random());
    }
    request.clear();
    const ProblemPtr problem =
        decode_msgpack_infer(std::as_bytes(std::span(changed)), {}, {}, request);
    if (problem) {
      ASSERT(problem->kind == ProblemKind::kInvalidInput ||
             problem->kind == ProblemKind::kPayloadTooLarge);
    }
  }
}

// What bombs claim is never reserved: memory stays a small multiple of the body.
TEST(msgpack_bombs_reserve_nothing) {
  std::string nested;
  for (int i = 0; i < 500; ++i) append_msg_array(200'000, nested);
  std::string claimed;
  append_msg_map(1, claimed);
  append_msg_str("inputs", claimed);
  append_msg_array(1, claimed);
  append_head("BYTES", {1 << 30}, claimed);
  append_msg_bin(8, claimed);
  claimed.append(8, '\0');
  for (const std::string& body : {nested, claimed}) {
    InferRequest request;
    EXPECT(decode_msgpack_infer(bytes_of(body), {}, {}, request) != nullptr);
    EXPECT_EQ(request.scratch.bytes(), 0);
  }
}

TEST(msgpack_shared_memory_and_classification_are_for_python) {
  for (const std::string_view name : {"classification", "shared_memory_region"}) {
    std::string body;
    append_msg_map(2, body);
    append_msg_str("inputs", body);
    append_msg_array(1, body);
    append_head("UINT8", {1}, body);
    append_msg_bin(1, body);
    body += '\1';
    append_msg_str("outputs", body);
    append_msg_array(1, body);
    append_msg_map(2, body);
    append_msg_str("name", body);
    append_msg_str("y", body);
    append_msg_str("parameters", body);
    append_msg_map(1, body);
    append_msg_str(name, body);
    append_msg_uint(1, body);
    InferRequest request;
    EXPECT(decode_msgpack_infer(bytes_of(body), {}, {}, request) == nullptr);
    EXPECT(request.is_for_python);
  }
}

}  // namespace
}  // namespace pelton
