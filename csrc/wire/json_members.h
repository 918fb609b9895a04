// Checked members of JSON objects, as inference requests have them. The oracle is
// pyserver/pelton/codec/_checks.py. A member that is absent or null is nullopt.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "csrc/base/dtype.h"
#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/base/tensor.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/limits.h"
#include "csrc/wire/where.h"

namespace pelton {

// nullopt also where the value is null.
inline std::optional<JsonValue> present(const std::optional<JsonValue>& value) {
  return value && !value->is_null() ? value : std::nullopt;
}

ProblemPtr check_object(const std::optional<JsonValue>& value, const Where& where);
// An array of at most `items_max`.
ProblemPtr check_list(const std::optional<JsonValue>& value, const Where& where, int64_t items_max);
ProblemPtr read_text(const std::optional<JsonValue>& value, const Where& where, int64_t bytes_max,
                     std::string_view& text);
// A text that is not empty, of at most name_bytes_max.
ProblemPtr read_name(const std::optional<JsonValue>& value, const Where& where,
                     const DecodeLimits& limits, std::string_view& name);
ProblemPtr read_datatype(const std::optional<JsonValue>& value, const Where& where, DType& dtype);
// `count` becomes the number of elements.
ProblemPtr read_shape(const std::optional<JsonValue>& value, const Where& where,
                      const DecodeLimits& limits, Shape& shape, int64_t& count);

// The integer from 0 to 2**64 - 1 that the value is.
std::optional<uint64_t> unsigned_of(const JsonValue& value);

// A map of strings, 64-bit integers, finite numbers and booleans; appended in its order.
ProblemPtr read_parameters(const std::optional<JsonValue>& value, const Where& where,
                           const DecodeLimits& limits, std::vector<Parameter>& parameters);

// The parameters of one input or output that have a meaning; unknown ones are ignored whatever
// their type. Here null is a value.
struct TensorParameters {
  std::optional<JsonValue> binary_data_size;
  std::optional<JsonValue> binary_data;
  bool asks_for_memory = false;   // shared memory
  bool asks_for_classes = false;  // classification
};
ProblemPtr read_tensor_parameters(const std::optional<JsonValue>& value, const Where& where,
                                  const DecodeLimits& limits, TensorParameters& parameters);

}  // namespace pelton
