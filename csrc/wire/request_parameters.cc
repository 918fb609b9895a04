#include "csrc/wire/request_parameters.h"

#include <algorithm>
#include <limits>
#include <string>

#include "csrc/wire/python_text.h"
#include "csrc/wire/where.h"

namespace pelton {
namespace {

using Value = decltype(Parameter::value);

constexpr std::string_view kReservedPrefix = "triton_";

std::string describe(const Value& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* number = std::get_if<int64_t>(&value)) {
    return "the number " + std::to_string(*number);
  }
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    return "the number " + std::to_string(*number);
  }
  if (const auto* number = std::get_if<double>(&value)) return describe_float(*number);
  return describe_string(std::get<std::string_view>(value));
}

// Takes a parameter out; nullopt where there is none of that name.
std::optional<Value> take(std::vector<Parameter>& parameters, std::string_view name) {
  const auto found = std::find_if(parameters.begin(), parameters.end(),
                                  [name](const Parameter& item) { return item.name == name; });
  if (found == parameters.end()) return std::nullopt;
  const Value value = found->value;
  parameters.erase(found);
  return value;
}

ProblemPtr take_boolean(std::vector<Parameter>& parameters, std::string_view name,
                        const Where& where, std::optional<bool>& flag) {
  const std::optional<Value> value = take(parameters, name);
  if (!value) return nullptr;
  const auto* const found = std::get_if<bool>(&*value);
  if (!found) return where.at(name).bad("true or false", describe(*value));
  flag = *found;
  return nullptr;
}

// An integer from 0 to `high`; `number` stays as it is where there is none.
ProblemPtr take_integer(std::vector<Parameter>& parameters, std::string_view name,
                        const Where& where, uint64_t high, uint64_t& number) {
  const std::optional<Value> value = take(parameters, name);
  if (!value) return nullptr;
  const auto* const small = std::get_if<int64_t>(&*value);
  const auto* const large = std::get_if<uint64_t>(&*value);
  const bool fits =
      (small && *small >= 0 && static_cast<uint64_t>(*small) <= high) || (large && *large <= high);
  if (!fits) {
    return where.at(name).bad("an integer from 0 to " + std::to_string(high), describe(*value));
  }
  number = small ? static_cast<uint64_t>(*small) : *large;
  return nullptr;
}

bool is_zero(const Value& value) {
  if (const auto* number = std::get_if<int64_t>(&value)) return *number == 0;
  if (const auto* text = std::get_if<std::string_view>(&value)) return text->empty();
  return std::get_if<uint64_t>(&value) && std::get<uint64_t>(value) == 0;
}

// Sequences are not served; an id of 0 or "" means none, and clients send it with two flags.
ProblemPtr refuse_sequence(std::vector<Parameter>& parameters, const Where& where) {
  const std::optional<Value> identity = take(parameters, "sequence_id");
  std::optional<bool> ignored;
  PELTON_RETURN_IF_PROBLEM(take_boolean(parameters, "sequence_start", where, ignored));
  PELTON_RETURN_IF_PROBLEM(take_boolean(parameters, "sequence_end", where, ignored));
  if (!identity) return nullptr;
  const Where place = where.at("sequence_id");
  if (std::holds_alternative<bool>(*identity) || std::holds_alternative<double>(*identity)) {
    return place.bad("an unsigned integer or a string", describe(*identity));
  }
  if (is_zero(*identity)) return nullptr;
  return place.refused("sequences are not supported; leave it out, or send 0");
}

ProblemPtr take_non_finite(std::vector<Parameter>& parameters, const Where& where, bool& is_null) {
  const std::optional<Value> value = take(parameters, "non_finite");
  if (!value) return nullptr;
  const auto* const word = std::get_if<std::string_view>(&*value);
  if (!word || (*word != "literal" && *word != "null")) {
    return where.at("non_finite").bad("\"literal\" or \"null\"", describe(*value));
  }
  is_null = *word == "null";
  return nullptr;
}

}  // namespace

ProblemPtr apply_parameters(InferRequest& request) {
  std::vector<Parameter>& parameters = request.parameters;
  if (parameters.empty()) return nullptr;
  const Where body;
  const Where where = body.at("parameters");
  for (const Parameter& parameter : parameters) {
    if (parameter.name == "headers" || parameter.name.starts_with(kReservedPrefix)) {
      return where.at(parameter.name).refused("this parameter's name is reserved");
    }
  }
  PELTON_RETURN_IF_PROBLEM(refuse_sequence(parameters, where));
  uint64_t priority = 0;
  constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();
  PELTON_RETURN_IF_PROBLEM(take_integer(parameters, "priority", where, kAny, priority));
  uint64_t timeout = 0;
  constexpr auto kTimeoutMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  PELTON_RETURN_IF_PROBLEM(take_integer(parameters, "timeout", where, kTimeoutMax, timeout));
  std::optional<bool> binary;
  PELTON_RETURN_IF_PROBLEM(take_boolean(parameters, "binary_data_output", where, binary));
  PELTON_RETURN_IF_PROBLEM(take_boolean(parameters, "truncate", where, request.truncate));
  PELTON_RETURN_IF_PROBLEM(take_non_finite(parameters, where, request.non_finite_null));
  request.binary_output_default = binary.value_or(false);
  request.priority = priority == 0
                         ? kPriorityDefault
                         : static_cast<int>(std::min<uint64_t>(priority, kPriorityLevels));
  request.timeout_us = static_cast<int64_t>(timeout);
  return nullptr;
}

bool is_memory_parameter(std::string_view name) {
  return name == "shared_memory_region" || name == "shared_memory_byte_size" ||
         name == "shared_memory_offset";
}

}  // namespace pelton
