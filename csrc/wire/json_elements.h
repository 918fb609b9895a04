// The data of a tensor as JSON: numbers, booleans or strings, flat or nested as the shape says. The
// oracle is read_elements() and from_elements() of pyserver/pelton/codec/_numbers.py.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "csrc/base/problem.h"
#include "csrc/base/scratch.h"
#include "csrc/base/tensor.h"
#include "csrc/wire/json_document.h"
#include "csrc/wire/where.h"

namespace pelton {

// What came instead, in a few words; nullopt is a member that is absent.
std::string describe(const std::optional<JsonValue>& value);

// Reads `data` (nullopt: absent or null) into the data or elements of `tensor`, whose dtype and
// shape of `count` elements are set; numbers go into `scratch`. kInvalidInput unless every element
// is of the dtype's own kind and in its range: nothing wraps, nothing is rounded to an integer,
// nothing finite becomes infinite.
ProblemPtr read_json_elements(const JsonDocument& document, const std::optional<JsonValue>& data,
                              int64_t count, const Where& where, Scratch& scratch,
                              TensorView& tensor);

}  // namespace pelton
