#include "csrc/wire/oip_request.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <string_view>

#include "csrc/wire/json_elements.h"
#include "csrc/wire/json_members.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/raw_tensor.h"
#include "csrc/wire/request_parameters.h"
#include "csrc/wire/where.h"

namespace pelton {
namespace {

using Member = std::optional<JsonValue>;

constexpr std::string_view kLengthField = "Inference-Header-Content-Length";

// The members of a request that have a meaning; null is absent.
struct RequestMembers {
  Member inputs, outputs, id, parameters;

  explicit RequestMembers(const JsonValue& object) {
    for (auto member = object.first_member(); member; member = member->next()) {
      if (member->is_null()) continue;
      const std::string_view key = member->key();
      if (key == "inputs") inputs = member;
      if (key == "outputs") outputs = member;
      if (key == "id") id = member;
      if (key == "parameters") parameters = member;
    }
  }
};

// The same of a tensor.
struct TensorMembers {
  Member name, datatype, shape, parameters, data;

  explicit TensorMembers(const JsonValue& object) {
    for (auto member = object.first_member(); member; member = member->next()) {
      if (member->is_null()) continue;
      const std::string_view key = member->key();
      if (key == "name") name = member;
      if (key == "shape") shape = member;
      if (key == "datatype") datatype = member;
      if (key == "data") data = member;
      if (key == "parameters") parameters = member;
    }
  }
};

// Reads the list of inputs, whose data is in the document or in the binary section.
class InputReader {
 public:
  InputReader(const JsonDocument& document, std::optional<BinarySection> section,
              const DecodeLimits& limits, InferRequest& request)
      : document_(document), section_(section), limits_(limits), request_(request) {}

  ProblemPtr read_all(const Member& value, const Where& where) {
    PELTON_RETURN_IF_PROBLEM(check_list(value, where, limits_.tensors_max));
    is_alone_ = value->size() == 1;
    int64_t index = 0;
    for (auto item = value->first_element(); item; item = item->next(), ++index) {
      PELTON_RETURN_IF_PROBLEM(read(*item, where.item(index)));
      if (request_.is_for_python) return nullptr;
    }
    return check_end();
  }

 private:
  int64_t remaining() const { return static_cast<int64_t>(section_->raw.size() - used_); }
  int64_t offset() const { return section_->start + static_cast<int64_t>(used_); }

  ProblemPtr read(const JsonValue& value, const Where& place) {
    PELTON_RETURN_IF_PROBLEM(check_object(value, place));
    const TensorMembers members(value);
    TensorView tensor;
    PELTON_RETURN_IF_PROBLEM(read_name(members.name, place.at("name"), limits_, tensor.name));
    const Where where = place.named(tensor.name);
    PELTON_RETURN_IF_PROBLEM(read_datatype(members.datatype, where.at("datatype"), tensor.dtype));
    int64_t count = 0;
    PELTON_RETURN_IF_PROBLEM(
        read_shape(members.shape, where.at("shape"), limits_, tensor.shape, count));
    std::optional<int64_t> size;
    PELTON_RETURN_IF_PROBLEM(read_binary_size(members, where, size));
    if (request_.is_for_python) return nullptr;
    const Where data = where.at("data");
    if (size) {
      PELTON_RETURN_IF_PROBLEM(take_raw(*size, count, data, tensor));
    } else {
      PELTON_RETURN_IF_PROBLEM(
          read_json_elements(document_, members.data, count, data, request_.scratch, tensor));
    }
    request_.inputs.push_back(tensor);
    return nullptr;
  }

  // The bytes of the binary section that are this tensor's; nullopt where its data is JSON.
  ProblemPtr read_binary_size(const TensorMembers& members, const Where& where,
                              std::optional<int64_t>& size) {
    const Where place = where.at("parameters");
    TensorParameters parameters;
    PELTON_RETURN_IF_PROBLEM(
        read_tensor_parameters(members.parameters, place, limits_, parameters));
    if (parameters.asks_for_memory) {
      request_.is_for_python = true;
      return nullptr;
    }
    if (!parameters.binary_data_size) {
      // OpenVINO Model Server's rule: a single tensor may leave its size to be inferred.
      if (is_alone_ && section_ && !members.data) size = remaining();
      return nullptr;
    }
    const Where size_place = place.at("binary_data_size");
    constexpr auto kHigh = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    const JsonValue& written = *parameters.binary_data_size;
    const std::optional<uint64_t> number = unsigned_of(written);
    if (!number || *number > kHigh) {
      return size_place.bad("an integer from 0 to " + std::to_string(kHigh), describe(written));
    }
    if (members.data) {
      return size_place.refused("a tensor has either data or binary_data_size, not both");
    }
    size = static_cast<int64_t>(*number);
    if (section_) return nullptr;
    if (*size != 0) {
      return size_place.refused("binary data needs the header " + std::string(kLengthField));
    }
    section_.emplace();
    return nullptr;
  }

  ProblemPtr take_raw(int64_t size, int64_t count, const Where& where, TensorView& tensor) {
    if (size > remaining()) {
      return where.bad(std::to_string(size) + " bytes of data",
                       std::to_string(remaining()) + " bytes left", offset());
    }
    const int64_t begin = offset();
    const auto raw = section_->raw.subspan(used_, static_cast<size_t>(size));
    used_ += raw.size();
    return view_raw(raw, count, where, begin, request_.scratch, tensor);
  }

  ProblemPtr check_end() const {
    if (!section_ || remaining() == 0) return nullptr;
    const std::string rest = std::to_string(remaining());
    ProblemPtr problem =
        make_problem(ProblemKind::kInvalidInput, "unexpected additional input data: " + rest +
                                                     " bytes behind the last tensor, at byte " +
                                                     std::to_string(offset()));
    problem->expected = "the sum of binary_data_size";
    problem->got = rest + " bytes more";
    problem->offset = offset();
    return problem;
  }

  const JsonDocument& document_;
  std::optional<BinarySection> section_;
  size_t used_ = 0;  // of the section
  const DecodeLimits& limits_;
  InferRequest& request_;
  bool is_alone_ = false;
};

ProblemPtr read_output(const JsonValue& value, const Where& place, const DecodeLimits& limits,
                       InferRequest& request) {
  PELTON_RETURN_IF_PROBLEM(check_object(value, place));
  WantedOutput output;
  PELTON_RETURN_IF_PROBLEM(
      read_name(present(value.find("name")), place.at("name"), limits, output.name));
  const Where named = place.named(output.name);
  const Where where = named.at("parameters");
  TensorParameters parameters;
  PELTON_RETURN_IF_PROBLEM(
      read_tensor_parameters(present(value.find("parameters")), where, limits, parameters));
  if (parameters.asks_for_memory || parameters.asks_for_classes) {
    request.is_for_python = true;
    return nullptr;
  }
  if (const Member& binary = parameters.binary_data) {
    if (binary->kind() != JsonKind::kTrue && binary->kind() != JsonKind::kFalse) {
      return where.at("binary_data").bad("true or false", describe(binary));
    }
    output.binary = binary->kind() == JsonKind::kTrue;
  }
  request.outputs.push_back(output);
  return nullptr;
}

ProblemPtr read_outputs(const Member& value, const Where& where, const DecodeLimits& limits,
                        InferRequest& request) {
  if (!value) return nullptr;
  PELTON_RETURN_IF_PROBLEM(check_list(value, where, limits.tensors_max));
  int64_t index = 0;
  for (auto item = value->first_element(); item; item = item->next(), ++index) {
    PELTON_RETURN_IF_PROBLEM(read_output(*item, where.item(index), limits, request));
    if (request.is_for_python) return nullptr;
  }
  return nullptr;
}

}  // namespace

ProblemPtr read_oip_request(const JsonDocument& document, std::optional<BinarySection> section,
                            const DecodeLimits& limits, InferRequest& request) {
  const Where body;
  const JsonValue root = document.root();
  PELTON_RETURN_IF_PROBLEM(check_object(root, body));
  const RequestMembers members(root);
  const Where inputs_place = body.at("inputs");
  PELTON_RETURN_IF_PROBLEM(
      InputReader(document, section, limits, request).read_all(members.inputs, inputs_place));
  if (request.is_for_python) return nullptr;
  if (request.inputs.empty()) return inputs_place.bad("at least one input", "an empty array");
  PELTON_RETURN_IF_PROBLEM(read_outputs(members.outputs, body.at("outputs"), limits, request));
  if (request.is_for_python) return nullptr;
  if (members.id) {
    request.id.emplace();
    PELTON_RETURN_IF_PROBLEM(
        read_text(members.id, body.at("id"), limits.string_bytes_max, *request.id));
  }
  PELTON_RETURN_IF_PROBLEM(
      read_parameters(members.parameters, body.at("parameters"), limits, request.parameters));
  return apply_parameters(request);
}

}  // namespace pelton
