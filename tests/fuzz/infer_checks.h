// What holds for whatever comes out of a decoder of inference requests.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/wire/error_body.h"
#include "csrc/wire/infer_codec.h"
#include "tests/fuzz/fuzz_target.h"

namespace pelton::fuzz {

// Memory that a decoder may take for a body of so many bytes: the smallest element on the wire is a
// digit and a comma, or two bytes of text, of which each becomes 16 bytes at most; blocks of a
// Scratch double, so that all of them are at most twice the last.
inline size_t memory_max(size_t body_bytes) { return 64 * body_bytes + (size_t{16} << 10); }

// Limits that short inputs reach.
inline DecodeLimits small_limits() {
  DecodeLimits limits;
  limits.head_bytes_max = 1024;
  limits.tensors_max = 3;
  limits.rank_max = 3;
  limits.elements_max = 64;
  limits.nodes_max = 96;
  limits.containers_max = 24;
  limits.parameters_max = 3;
  limits.string_bytes_max = 48;
  limits.name_bytes_max = 16;
  limits.digits_max = 24;
  limits.embedding_items_max = 4;
  limits.embedding_tokens_max = 8;
  return limits;
}

// An answer can be made of it, which is itself strict JSON, and a client is to blame.
inline void check_problem(const Problem& problem) {
  const int status = problem_status(problem.kind).http;
  FUZZ_EXPECT(status >= 400 && status < 500);
  FUZZ_EXPECT(!problem.message.empty() && problem.message.size() < 16'384);
  for (const ErrorShape shape : {ErrorShape::kProblem, ErrorShape::kOpenAi, ErrorShape::kTei}) {
    ErrorContext context;
    context.shape = shape;
    context.path = "/v2/models/m/infer";
    context.request_id = "id";
    std::string body;
    encode_error(problem, context, body);
    JsonDocument document;
    Scratch scratch;
    FUZZ_EXPECT(document.parse(body, DecodeLimits{}, scratch) == nullptr);
  }
}

inline void add_problem(const Problem& problem, Digest& digest) {
  digest.add(static_cast<uint64_t>(problem.kind));
  digest.add(problem.message);
  for (const auto& text : {problem.tensor, problem.field, problem.expected, problem.got}) {
    digest.add(text.value_or("-"));
  }
  digest.add(static_cast<uint64_t>(problem.offset.value_or(-1)));
}

// Reads every byte that the tensor shows.
inline void check_tensor(const TensorView& tensor, Digest& digest) {
  digest.add(tensor.name);
  digest.add(static_cast<uint64_t>(tensor.dtype));
  FUZZ_EXPECT(tensor.shape.rank >= 0 && tensor.shape.rank <= kRankMax);
  uint64_t count = 1;
  for (const int64_t dim : tensor.shape.view()) {
    FUZZ_EXPECT(dim >= 0);
    count *= static_cast<uint64_t>(dim);
    digest.add(static_cast<uint64_t>(dim));
  }
  if (tensor.dtype == DType::kBytes) {
    FUZZ_EXPECT(tensor.elements.size() == count);
    for (const std::string_view element : tensor.elements) digest.add(element);
    return;
  }
  FUZZ_EXPECT(dtype_bytes(tensor.dtype) > 0);
  FUZZ_EXPECT(tensor.data.size() == count * dtype_bytes(tensor.dtype));
  const auto* const bytes = reinterpret_cast<const char*>(tensor.data.data());
  digest.add(std::string_view(bytes, tensor.data.size()));
  if (tensor.dtype == DType::kBool) {
    for (const std::byte value : tensor.data) FUZZ_EXPECT(value <= std::byte{1});
  }
}

inline void add_parameter(const Parameter& parameter, Digest& digest) {
  digest.add(parameter.name);
  digest.add(parameter.value.index());
  if (const auto* text = std::get_if<std::string_view>(&parameter.value)) digest.add(*text);
}

inline void check_request(const InferRequest& request, Digest& digest) {
  digest.add(request.is_for_python);
  if (request.is_for_python) return;
  digest.add(request.id.value_or("-"));
  for (const TensorView& tensor : request.inputs) check_tensor(tensor, digest);
  for (const WantedOutput& output : request.outputs) {
    digest.add(output.name);
    digest.add(output.binary);
  }
  for (const Parameter& parameter : request.parameters) add_parameter(parameter, digest);
  FUZZ_EXPECT(request.priority >= 1 && request.priority <= kPriorityLevels);
  FUZZ_EXPECT(request.timeout_us >= 0);
  digest.add(static_cast<uint64_t>(request.priority));
  digest.add(static_cast<uint64_t>(request.timeout_us));
  digest.add(request.non_finite_null);
  digest.add(request.binary_output_default);
  digest.add(static_cast<uint64_t>(request.truncate.has_value() ? *request.truncate : 2));
}

// What was decoded can be encoded in every format; what is JSON then is strict JSON.
inline void check_answers(const InferRequest& request) {
  std::vector<AnswerTensor> outputs;
  for (const TensorView& tensor : request.inputs) {
    outputs.push_back({tensor, outputs.size() % 2 == 0});
  }
  InferAnswer answer;
  answer.model_name = "m";
  answer.model_version = "1";
  answer.id = request.id;
  answer.outputs = outputs;
  answer.non_finite_null = request.non_finite_null;
  for (const BodyFormat kind : {BodyFormat::kJson, BodyFormat::kBinary, BodyFormat::kMsgpack}) {
    std::string out = "kept";
    EncodedHead head;
    AnswerFormat format;
    format.kind = kind;
    if (kind == BodyFormat::kMsgpack) format.media_type = "application/msgpack";
    const ProblemPtr problem = encode_infer(answer, format, out, head);
    FUZZ_EXPECT(out.starts_with("kept") && (!problem || out.size() == 4));
    if (problem || kind == BodyFormat::kMsgpack) continue;
    const std::string_view body = std::string_view(out).substr(4);
    FUZZ_EXPECT(head.json_bytes <= static_cast<int64_t>(body.size()));
    const size_t json_bytes =
        head.json_bytes < 0 ? body.size() : static_cast<size_t>(head.json_bytes);
    JsonDocument document;
    Scratch scratch;
    FUZZ_EXPECT(document.parse(body.substr(0, json_bytes), DecodeLimits{}, scratch) == nullptr);
  }
}

// Inputs of models, of which the body's size chooses: decoders ask for them where a body holds one
// tensor and no name for it.
inline std::span<const TensorSpec> specs_for(size_t body_bytes) {
  static const std::array<std::vector<TensorSpec>, 5> kModels = {{
      {{"x", DType::kUint16, {}}},
      {{"text", DType::kBytes, {-1}}},
      {{"x", DType::kInt8, {2, -1}}},
      {{"a", DType::kFp64, {-1}}, {"b", DType::kBool, {-1}}},
      {{"x", DType::kFp32, {-1, 4}}},
  }};
  return kModels[body_bytes / 4 % kModels.size()];
}

// `decode(body, limits, request)` decodes into a clear request; the second time into memory that
// was used before, with the same outcome.
template <typename Decode>
void check_decoder(std::string_view input, const DecodeLimits& limits, const Decode& decode) {
  const ExactCopy body(input);
  InferRequest request;
  std::array<uint64_t, 2> digests{};
  for (uint64_t& value : digests) {
    request.clear();
    const ProblemPtr problem = decode(body.bytes(), limits, request);
    FUZZ_EXPECT(request.scratch.bytes() <= memory_max(input.size()));
    Digest digest;
    if (problem) {
      check_problem(*problem);
      add_problem(*problem, digest);
    } else {
      check_request(request, digest);
      if (!request.is_for_python) check_answers(request);
    }
    value = digest.value();
  }
  FUZZ_EXPECT(digests[0] == digests[1]);
}

}  // namespace pelton::fuzz
