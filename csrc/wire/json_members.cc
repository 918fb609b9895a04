#include "csrc/wire/json_members.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "csrc/wire/json_elements.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/raw_tensor.h"
#include "csrc/wire/request_parameters.h"

namespace pelton {
namespace {

constexpr uint64_t kInt64Magnitude = uint64_t{1} << 63;  // of the least int64

bool is_integer(const JsonValue& value) {
  return value.kind() == JsonKind::kNumber && value.is_integer();
}

WrittenInteger integer_of(const JsonValue& value) {
  const std::string_view text = value.number();
  WrittenInteger integer;
  read_integer_text(text.data(), text.data() + text.size(), integer);
  return integer;
}

std::optional<DType> find_dtype(std::string_view name) {
  for (uint8_t number = 1;; ++number) {
    const std::optional<DType> dtype = dtype_from_number(number);
    if (!dtype || dtype_name(*dtype) == name) return dtype;
  }
}

std::string dtype_names() {
  std::string names;
  for (uint8_t number = 1; const auto dtype = dtype_from_number(number); ++number) {
    if (!names.empty()) names += ", ";
    names += dtype_name(*dtype);
  }
  return names;
}

// Some dimension does not fit 64 bits, so no limit is over their product.
ProblemPtr refuse_big_shape(const JsonValue& list, const Where& where, const DecodeLimits& limits) {
  std::string dims;
  for (auto dim = list.first_element(); dim; dim = dim->next()) {
    dims += dims.empty() ? "shape [" : ", ";
    dims += python_int(dim->number());
  }
  return where.bad("at most " + std::to_string(limits.elements_max) + " elements",
                   shorten(dims + "]"));
}

ProblemPtr read_integer_parameter(const JsonValue& value, const Where& where,
                                  Parameter& parameter) {
  const WrittenInteger integer = integer_of(value);
  if (integer.is_big || (integer.is_negative && integer.magnitude > kInt64Magnitude)) {
    return where.bad("an integer from " + std::to_string(std::numeric_limits<int64_t>::min()) +
                         " to " + std::to_string(std::numeric_limits<uint64_t>::max()),
                     describe(value));
  }
  if (integer.is_negative) {
    parameter.value = static_cast<int64_t>(uint64_t{0} - integer.magnitude);
  } else if (integer.magnitude < kInt64Magnitude) {
    parameter.value = static_cast<int64_t>(integer.magnitude);
  } else {
    parameter.value = integer.magnitude;
  }
  return nullptr;
}

ProblemPtr read_float_parameter(const JsonValue& value, const Where& where, Parameter& parameter) {
  const std::string_view text = value.number();
  double number = 0;
  read_number(text.data(), text.data() + text.size(), number);
  if (!std::isfinite(number)) return where.bad("a finite number", describe(value));
  parameter.value = number;
  return nullptr;
}

ProblemPtr read_parameter(const JsonValue& value, const Where& where, const DecodeLimits& limits,
                          Parameter& parameter) {
  switch (value.kind()) {
    case JsonKind::kString: {
      std::string_view text;
      PELTON_RETURN_IF_PROBLEM(read_text(value, where, limits.string_bytes_max, text));
      parameter.value = text;
      return nullptr;
    }
    case JsonKind::kNumber:
      if (value.is_integer()) return read_integer_parameter(value, where, parameter);
      return read_float_parameter(value, where, parameter);
    case JsonKind::kTrue:
    case JsonKind::kFalse:
      parameter.value = value.kind() == JsonKind::kTrue;
      return nullptr;
    default:
      return where.bad("a string, number or boolean", describe(value));
  }
}

// An object of at most parameters_max members.
ProblemPtr check_parameters(const JsonValue& value, const Where& where,
                            const DecodeLimits& limits) {
  PELTON_RETURN_IF_PROBLEM(check_object(value, where));
  if (static_cast<int64_t>(value.size()) <= limits.parameters_max) return nullptr;
  return where.bad("at most " + std::to_string(limits.parameters_max) + " parameters",
                   std::to_string(value.size()));
}

ProblemPtr check_text_size(std::string_view text, const Where& where, int64_t bytes_max) {
  if (static_cast<int64_t>(text.size()) <= bytes_max) return nullptr;
  return where.bad("a string of at most " + std::to_string(bytes_max) + " bytes",
                   std::to_string(text.size()) + " bytes");
}

}  // namespace

ProblemPtr check_object(const std::optional<JsonValue>& value, const Where& where) {
  if (value && value->kind() == JsonKind::kObject) return nullptr;
  return where.bad("an object", describe(value));
}

ProblemPtr check_list(const std::optional<JsonValue>& value, const Where& where,
                      int64_t items_max) {
  if (!value || value->kind() != JsonKind::kArray) return where.bad("an array", describe(value));
  if (static_cast<int64_t>(value->size()) <= items_max) return nullptr;
  return where.bad("at most " + std::to_string(items_max) + " items",
                   std::to_string(value->size()));
}

ProblemPtr read_text(const std::optional<JsonValue>& value, const Where& where, int64_t bytes_max,
                     std::string_view& text) {
  if (!value || value->kind() != JsonKind::kString) return where.bad("a string", describe(value));
  text = value->string();
  return check_text_size(text, where, bytes_max);
}

ProblemPtr read_name(const std::optional<JsonValue>& value, const Where& where,
                     const DecodeLimits& limits, std::string_view& name) {
  PELTON_RETURN_IF_PROBLEM(read_text(value, where, limits.name_bytes_max, name));
  return name.empty() ? where.bad("a name", "an empty string") : nullptr;
}

ProblemPtr read_datatype(const std::optional<JsonValue>& value, const Where& where, DType& dtype) {
  if (value && value->kind() == JsonKind::kString) {
    if (const std::optional<DType> found = find_dtype(value->string())) {
      dtype = *found;
      return nullptr;
    }
  }
  return where.bad("one of " + dtype_names(), describe(value));
}

ProblemPtr read_shape(const std::optional<JsonValue>& value, const Where& where,
                      const DecodeLimits& limits, Shape& shape, int64_t& count) {
  PELTON_RETURN_IF_PROBLEM(check_list(value, where, std::min(limits.rank_max, kRankMax)));
  std::array<uint64_t, kRankMax> dims;
  size_t rank = 0;
  bool is_big = false;
  for (auto dim = value->first_element(); dim; dim = dim->next()) {
    const WrittenInteger integer = is_integer(*dim) ? integer_of(*dim) : WrittenInteger{0, true};
    if (integer.is_negative) {
      return where.item(static_cast<int64_t>(rank)).bad("an integer of 0 or more", describe(dim));
    }
    is_big |= integer.is_big;
    dims[rank++] = integer.magnitude;
  }
  if (is_big) return refuse_big_shape(*value, where, limits);
  return make_shape({dims.data(), rank}, where, limits, shape, count);
}

std::optional<uint64_t> unsigned_of(const JsonValue& value) {
  if (!is_integer(value)) return std::nullopt;
  const WrittenInteger integer = integer_of(value);
  if (integer.is_big || integer.is_negative) return std::nullopt;
  return integer.magnitude;
}

ProblemPtr read_parameters(const std::optional<JsonValue>& value, const Where& where,
                           const DecodeLimits& limits, std::vector<Parameter>& parameters) {
  if (!value) return nullptr;
  PELTON_RETURN_IF_PROBLEM(check_parameters(*value, where, limits));
  for (auto member = value->first_member(); member; member = member->next()) {
    Parameter parameter{member->key(), {}};
    PELTON_RETURN_IF_PROBLEM(check_text_size(parameter.name, where, limits.name_bytes_max));
    PELTON_RETURN_IF_PROBLEM(read_parameter(*member, where.at(parameter.name), limits, parameter));
    parameters.push_back(parameter);
  }
  return nullptr;
}

ProblemPtr read_tensor_parameters(const std::optional<JsonValue>& value, const Where& where,
                                  const DecodeLimits& limits, TensorParameters& parameters) {
  if (!value) return nullptr;
  PELTON_RETURN_IF_PROBLEM(check_parameters(*value, where, limits));
  for (auto member = value->first_member(); member; member = member->next()) {
    const std::string_view key = member->key();
    if (key == "binary_data_size") parameters.binary_data_size = member;
    if (key == "binary_data") parameters.binary_data = member;
    parameters.asks_for_classes |= key == "classification";
    parameters.asks_for_memory |= is_memory_parameter(key);
  }
  return nullptr;
}

}  // namespace pelton
