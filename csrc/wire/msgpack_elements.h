// Tensor data that comes as an array of values instead of raw bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "csrc/base/problem.h"
#include "csrc/base/scratch.h"
#include "csrc/base/tensor.h"
#include "csrc/wire/msgpack_value.h"
#include "csrc/wire/where.h"

namespace pelton {

// A few words for what came, bounded whatever the value. A bin that is an item of an array is
// shown, one that is a member only measured.
std::string describe(const MsgValue& value, bool is_item = false);

// Makes `data`, which is no bin or ext, the data of `tensor`, whose dtype and shape of `count`
// elements are set: a flat array, one nested as the shape says, one value for a shape without
// dimensions, or nothing where there are no elements. Numbers must be of the dtype's kind and in
// its range: nothing wraps, nothing is rounded to an integer, nothing finite becomes infinite. They
// are put into `scratch`; elements of BYTES stay in `body`.
ProblemPtr read_msg_elements(std::span<const std::byte> body, const MsgValue& data, int64_t count,
                             const Where& where, Scratch& scratch, TensorView& tensor);

}  // namespace pelton
