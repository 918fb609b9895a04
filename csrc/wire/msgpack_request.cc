#include "csrc/wire/msgpack_request.h"

#include <cmath>
#include <string>
#include <string_view>

#include "csrc/wire/msgpack_elements.h"
#include "csrc/wire/msgpack_tensor.h"
#include "csrc/wire/msgpack_value.h"
#include "csrc/wire/raw_tensor.h"
#include "csrc/wire/request_parameters.h"
#include "csrc/wire/where.h"

namespace pelton {
namespace {

// The members of the request's map that mean something; absent ones are nil.
struct Members {
  MsgValue id, parameters, inputs, outputs;
  bool has_inputs = false;
  bool has_tensor = false;
};

Members members_of(std::span<const std::byte> body, const MsgValue& root) {
  Members members;
  for_each_member(body, root, [&members](std::string_view name, const MsgValue& value) {
    if (name == "inputs") {
      members.inputs = value;
      members.has_inputs = true;
    } else if (name == "parameters") {
      members.parameters = value;
    } else if (name == "outputs") {
      members.outputs = value;
    } else if (name == "id") {
      members.id = value;
    } else if (name == "nd" || name == "data") {
      members.has_tensor = true;
    }
  });
  return members;
}

class RequestReader {
 public:
  RequestReader(std::span<const std::byte> body, const DecodeLimits& limits, InferRequest& request)
      : source_{body, limits, request.scratch}, request_(request) {}

  ProblemPtr read(std::span<const TensorSpec> specs);

 private:
  ProblemPtr read_bare(const MsgValue& root, const TensorSpec& spec);
  ProblemPtr read_members(const Members& members);
  ProblemPtr read_parameters(const MsgValue& value);
  ProblemPtr read_parameter(std::string_view name, const MsgValue& value, const Where& where);
  ProblemPtr read_inputs(const MsgValue& value);
  ProblemPtr read_outputs(const MsgValue& value);
  ProblemPtr read_output(const MsgValue& value, const Where& where);
  ProblemPtr read_output_parameters(const MsgValue& value, const Where& where, bool& binary);

  const DecodeLimits& limits() const { return source_.limits; }

  MsgSource source_;
  InferRequest& request_;
};

ProblemPtr RequestReader::read(std::span<const TensorSpec> specs) {
  const MsgValue root = MsgReader(source_.body, 0).next();
  if (root.type != MsgType::kExt && root.type != MsgType::kArray) {
    PELTON_RETURN_IF_PROBLEM(expect_msg_map(root, Where()));
    const Members members = members_of(source_.body, root);
    if (members.has_inputs || !members.has_tensor) return read_members(members);
  }
  const TensorSpec* spec = nullptr;
  PELTON_RETURN_IF_PROBLEM(only_input(specs, "a tensor without a name", spec));
  return read_bare(root, *spec);
}

ProblemPtr RequestReader::read_bare(const MsgValue& root, const TensorSpec& spec) {
  const Where where = Where::body(spec.name);
  request_.binary_output_default = true;
  TensorView& tensor = request_.inputs.emplace_back();
  if (root.type == MsgType::kArray) {
    tensor.dtype = spec.dtype;
    PELTON_RETURN_IF_PROBLEM(deduce_shape(spec, root.size, where, tensor.shape));
    int64_t count = 1;
    for (const int64_t dim : tensor.shape.view()) count *= dim;
    PELTON_RETURN_IF_PROBLEM(
        read_msg_elements(source_.body, root, count, where, source_.scratch, tensor));
  } else {
    PELTON_RETURN_IF_PROBLEM(read_msg_tensor(source_, root, spec.name, where, tensor));
  }
  tensor.name = source_.scratch.copy(spec.name);
  return nullptr;
}

ProblemPtr RequestReader::read_members(const Members& members) {
  const Where body;
  PELTON_RETURN_IF_PROBLEM(read_parameters(members.parameters));
  PELTON_RETURN_IF_PROBLEM(apply_parameters(request_));
  PELTON_RETURN_IF_PROBLEM(read_inputs(members.inputs));
  if (request_.inputs.empty()) return body.at("inputs").bad("at least one input", "none");
  PELTON_RETURN_IF_PROBLEM(read_outputs(members.outputs));
  if (request_.is_for_python || members.id.type == MsgType::kNil) return nullptr;
  std::string_view id;
  PELTON_RETURN_IF_PROBLEM(read_msg_text(members.id, body.at("id"), limits().string_bytes_max, id));
  request_.id = id;
  return nullptr;
}

ProblemPtr RequestReader::read_parameters(const MsgValue& value) {
  if (value.type == MsgType::kNil) return nullptr;
  const Where body;
  const Where where = body.at("parameters");
  PELTON_RETURN_IF_PROBLEM(expect_msg_map(value, where));
  if (value.size > limits().parameters_max) {
    return where.bad("at most " + std::to_string(limits().parameters_max) + " parameters",
                     std::to_string(value.size));
  }
  ProblemPtr problem;
  for_each_member(source_.body, value, [&](std::string_view name, const MsgValue& item) {
    if (!problem) problem = read_parameter(name, item, where);
  });
  return problem;
}

ProblemPtr RequestReader::read_parameter(std::string_view name, const MsgValue& value,
                                         const Where& where) {
  const Where place = where.at(name);
  Parameter& parameter = request_.parameters.emplace_back();
  parameter.name = name;
  switch (value.type) {
    case MsgType::kFalse:
    case MsgType::kTrue:
      parameter.value = value.type == MsgType::kTrue;
      return nullptr;
    case MsgType::kNegative:
      parameter.value = value.negative();
      return nullptr;
    case MsgType::kUnsigned:
      if (value.bits >> 63 == 0) {
        parameter.value = static_cast<int64_t>(value.bits);
      } else {
        parameter.value = value.bits;
      }
      return nullptr;
    case MsgType::kFloat:
      if (!std::isfinite(value.real())) return place.bad("a finite number", describe(value));
      parameter.value = value.real();
      return nullptr;
    case MsgType::kStr: {
      std::string_view text;
      PELTON_RETURN_IF_PROBLEM(read_msg_text(value, place, limits().string_bytes_max, text));
      parameter.value = text;
      return nullptr;
    }
    default:
      return place.bad("a string, number or boolean", describe(value));
  }
}

ProblemPtr RequestReader::read_inputs(const MsgValue& value) {
  const Where body;
  const Where where = body.at("inputs");
  if (value.type == MsgType::kMap) {
    ProblemPtr problem;
    for_each_member(source_.body, value, [&](std::string_view name, const MsgValue& item) {
      if (problem) return;
      if (name.empty()) {
        problem = where.bad("a name", "an empty string");
        return;
      }
      const Where place = where.at(name);
      problem =
          read_msg_tensor(source_, item, name, place.named(name), request_.inputs.emplace_back());
    });
    return problem;
  }
  PELTON_RETURN_IF_PROBLEM(expect_msg_array(value, where, limits().tensors_max));
  MsgReader reader(source_.body, value.start);
  for (uint32_t i = 0; i < value.size; ++i) {
    const MsgValue item = reader.next();
    const Where place = where.item(i);
    PELTON_RETURN_IF_PROBLEM(expect_msg_map(item, place, true));
    const MsgTensorMembers members = read_msg_members(source_.body, item);
    std::string_view name;
    PELTON_RETURN_IF_PROBLEM(read_msg_name(members.name, place.at("name"), limits(), name));
    PELTON_RETURN_IF_PROBLEM(
        read_msg_tensor(source_, members, name, place.named(name), request_.inputs.emplace_back()));
    reader = MsgReader(source_.body, members.end);
  }
  return nullptr;
}

ProblemPtr RequestReader::read_outputs(const MsgValue& value) {
  if (value.type == MsgType::kNil) return nullptr;
  const Where body;
  const Where where = body.at("outputs");
  PELTON_RETURN_IF_PROBLEM(expect_msg_array(value, where, limits().tensors_max));
  MsgReader reader(source_.body, value.start);
  for (uint32_t i = 0; i < value.size && !request_.is_for_python; ++i) {
    MsgReader item = reader;
    PELTON_RETURN_IF_PROBLEM(read_output(item.next(), where.item(i)));
    reader.skip();
  }
  return nullptr;
}

ProblemPtr RequestReader::read_output(const MsgValue& value, const Where& where) {
  PELTON_RETURN_IF_PROBLEM(expect_msg_map(value, where, true));
  MsgValue name_value;
  MsgValue parameters;
  for_each_member(source_.body, value, [&](std::string_view name, const MsgValue& found) {
    if (name == "name") name_value = found;
    if (name == "parameters") parameters = found;
  });
  WantedOutput output;
  PELTON_RETURN_IF_PROBLEM(read_msg_name(name_value, where.at("name"), limits(), output.name));
  if (parameters.type != MsgType::kNil) {
    const Where named = where.named(output.name);
    PELTON_RETURN_IF_PROBLEM(
        read_output_parameters(parameters, named.at("parameters"), output.binary));
  }
  request_.outputs.push_back(output);
  return nullptr;
}

ProblemPtr RequestReader::read_output_parameters(const MsgValue& value, const Where& where,
                                                 bool& binary) {
  PELTON_RETURN_IF_PROBLEM(expect_msg_map(value, where));
  if (value.size > limits().parameters_max) {
    return where.bad("at most " + std::to_string(limits().parameters_max) + " parameters",
                     std::to_string(value.size));
  }
  MsgValue flag;
  flag.type = MsgType::kFalse;
  for_each_member(source_.body, value, [&](std::string_view name, const MsgValue& found) {
    if (name == "binary_data") flag = found;
    request_.is_for_python |= name == "classification" || is_memory_parameter(name);
  });
  if (!flag.is_bool()) return where.at("binary_data").bad("true or false", describe(flag));
  binary = flag.type == MsgType::kTrue;
  return nullptr;
}

}  // namespace

ProblemPtr read_msgpack_request(std::span<const std::byte> body, const DecodeLimits& limits,
                                std::span<const TensorSpec> specs, InferRequest& request) {
  return RequestReader(body, limits, request).read(specs);
}

}  // namespace pelton
