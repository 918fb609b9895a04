#include "csrc/wire/infer_codec.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "csrc/wire/media_types.h"
#include "csrc/wire/msgpack_codec.h"
#include "csrc/wire/oip_answer.h"
#include "csrc/wire/oip_request.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/raw_tensor.h"
#include "csrc/wire/swar.h"
#include "csrc/wire/utf8.h"
#include "csrc/wire/where.h"

namespace pelton {
namespace {

constexpr size_t kShownFieldBytes = 80;
constexpr size_t kShownLengthBytes = 40;
constexpr size_t kLengthDigitsMax = 19;  // fit 64 bits
constexpr std::string_view kLengthField = "Inference-Header-Content-Length";
constexpr std::string_view kTypes =
    "application/json, application/octet-stream or application/msgpack";

std::string shown_field(std::optional<std::string_view> value) {
  return latin1_to_utf8(value.value_or("").substr(0, kShownFieldBytes));
}

// `what` says what is wrong with the type, before and after its text.
ProblemPtr refuse_type(ProblemKind kind, std::string_view before, std::string shown,
                       std::string_view after) {
  std::string message(before);
  message += python_repr(shown);
  message += after;
  message += kTypes;
  ProblemPtr problem = make_problem(kind, std::move(message));
  problem->expected = kTypes;
  problem->got = std::move(shown);
  return problem;
}

// The static name of the msgpack type that the value is; empty where it is none.
std::string_view msgpack_type(std::optional<std::string_view> content_type) {
  if (!content_type) return {};
  const std::string_view type = media_type_of(*content_type);
  if (equals_ignoring_case(type, kMsgpackType)) return kMsgpackType;
  return equals_ignoring_case(type, kVendorMsgpackType) ? kVendorMsgpackType : std::string_view();
}

ProblemPtr refuse_size(std::string_view what, int64_t bytes, int64_t bytes_max) {
  const std::string limit = std::to_string(bytes_max);
  const std::string got = std::to_string(bytes) + " bytes";
  ProblemPtr problem = make_problem(ProblemKind::kPayloadTooLarge,
                                    std::string(what) + " has " + got + ", the limit is " + limit);
  problem->expected = "at most " + limit + " bytes";
  problem->got = got;
  return problem;
}

ProblemPtr read_head_length(std::string_view value, size_t body_bytes, size_t& head_bytes) {
  const Where body;
  const Where where = body.at(kLengthField);
  if (value.empty() || value.size() > kLengthDigitsMax ||
      !std::all_of(value.begin(), value.end(), is_digit)) {
    return where.bad("decimal digits",
                     python_repr(latin1_to_utf8(value.substr(0, kShownLengthBytes))));
  }
  uint64_t length = 0;
  std::from_chars(value.data(), value.data() + value.size(), length);
  if (length > body_bytes) {
    return where.bad("at most the body's " + std::to_string(body_bytes) + " bytes", value);
  }
  head_bytes = static_cast<size_t>(length);
  return nullptr;
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The body is the raw data of the only input: one batch row, and every output is wanted raw.
ProblemPtr read_raw_request(std::span<const std::byte> body, std::span<const TensorSpec> specs,
                            InferRequest& request) {
  const TensorSpec* spec = nullptr;
  PELTON_RETURN_IF_PROBLEM(only_input(specs, "a body without a JSON head", spec));
  const Where where = Where::body(spec->name);
  TensorView tensor;
  tensor.name = request.scratch.copy(spec->name);
  tensor.dtype = spec->dtype;
  if (spec->dtype == DType::kBytes) {  // the body is the one element itself, without its length
    PELTON_RETURN_IF_PROBLEM(deduce_shape(*spec, 1, where, tensor.shape));
    const std::span<std::string_view> element = request.scratch.make<std::string_view>(1);
    element[0] = as_text(body);
    tensor.elements = element;
  } else {
    const size_t width = dtype_bytes(spec->dtype);
    if (body.size() % width != 0) {
      return where.bad("a multiple of " + std::to_string(width) + " bytes",
                       std::to_string(body.size()) + " bytes");
    }
    const auto count = static_cast<int64_t>(body.size() / width);
    PELTON_RETURN_IF_PROBLEM(deduce_shape(*spec, count, where, tensor.shape));
    PELTON_RETURN_IF_PROBLEM(view_raw(body, count, where, 0, request.scratch, tensor));
  }
  request.inputs.push_back(tensor);
  request.binary_output_default = true;
  return nullptr;
}

ProblemPtr decode_binary(std::string_view length, std::span<const std::byte> body,
                         const DecodeLimits& limits, std::span<const TensorSpec> specs,
                         DecodeMemory& memory, InferRequest& request) {
  size_t head_bytes = 0;
  PELTON_RETURN_IF_PROBLEM(read_head_length(length, body.size(), head_bytes));
  if (head_bytes == 0) return read_raw_request(body, specs, request);
  if (static_cast<int64_t>(head_bytes) > limits.head_bytes_max) {
    return refuse_size("the JSON head", static_cast<int64_t>(head_bytes), limits.head_bytes_max);
  }
  PELTON_RETURN_IF_PROBLEM(
      memory.json.parse(as_text(body.first(head_bytes)), limits, request.scratch));
  const BinarySection section{body.subspan(head_bytes), static_cast<int64_t>(head_bytes)};
  return read_oip_request(memory.json, section, limits, request);
}

bool takes_anything(std::optional<std::string_view> accept) { return !accept || *accept == "*/*"; }

}  // namespace

ProblemPtr request_format(const FormatFields& fields, BodyFormat& format) {
  if (fields.inference_header_content_length) {
    format = BodyFormat::kBinary;
  } else if (!msgpack_type(fields.content_type).empty()) {
    format = BodyFormat::kMsgpack;
  } else if (is_json_type(fields.content_type)) {
    format = BodyFormat::kJson;
  } else {
    return refuse_type(ProblemKind::kUnsupportedMediaType, "the body's type ",
                       shown_field(fields.content_type), " is not read here, expected ");
  }
  return nullptr;
}

ProblemPtr answer_format(const FormatFields& fields, BodyFormat request, AnswerFormat& format) {
  format = {};
  if (takes_anything(fields.accept) && request != BodyFormat::kMsgpack) return nullptr;
  const Accept accept(fields.accept);
  const double json = accept.weight(kJsonType);
  const double octets = accept.weight(kOctetType);
  const double plain = accept.weight(kMsgpackType);
  const double vendor = accept.weight(kVendorMsgpackType);
  const double packed = std::max(plain, vendor);
  const double open_inference = std::max(json, octets);
  if (packed <= 0 && open_inference <= 0) {
    return refuse_type(ProblemKind::kNotAcceptable, "no answer can be of type ",
                       shown_field(fields.accept), ", only ");
  }
  if (packed > open_inference || (packed == open_inference && request == BodyFormat::kMsgpack)) {
    format.kind = BodyFormat::kMsgpack;
    format.media_type = plain >= vendor ? kMsgpackType : kVendorMsgpackType;
    const std::string_view sent = msgpack_type(fields.content_type);
    if (plain == vendor && !sent.empty()) format.media_type = sent;
  } else if (json <= 0) {
    format.kind = BodyFormat::kBinary;
    format.media_type = kOctetType;
  } else {
    format.is_json_only = octets <= 0;
  }
  return nullptr;
}

ProblemPtr decode_infer(const FormatFields& fields, std::span<const std::byte> body,
                        const DecodeLimits& limits, std::span<const TensorSpec> specs,
                        DecodeMemory& memory, InferRequest& request) {
  request.clear();
  BodyFormat format;
  PELTON_RETURN_IF_PROBLEM(request_format(fields, format));
  const auto bytes = static_cast<int64_t>(body.size());
  if (bytes > limits.body_bytes_max) return refuse_size("the body", bytes, limits.body_bytes_max);
  if (format == BodyFormat::kMsgpack) return decode_msgpack_infer(body, limits, specs, request);
  if (format == BodyFormat::kBinary) {
    return decode_binary(*fields.inference_header_content_length, body, limits, specs, memory,
                         request);
  }
  PELTON_RETURN_IF_PROBLEM(memory.json.parse(as_text(body), limits, request.scratch));
  return read_oip_request(memory.json, std::nullopt, limits, request);
}

ProblemPtr encode_infer(const InferAnswer& answer, const AnswerFormat& format, std::string& out,
                        EncodedHead& head) {
  if (format.kind != BodyFormat::kMsgpack) return encode_oip_answer(answer, format, out, head);
  encode_msgpack_infer(answer, out);
  head.content_type = format.media_type;
  head.json_bytes = -1;
  return nullptr;
}

}  // namespace pelton
