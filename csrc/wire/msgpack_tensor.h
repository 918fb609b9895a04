// One tensor of a msgpack body, in each of its forms: a map of name, datatype, shape and data; a
// dict of msgpack-numpy; an extension.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "csrc/base/problem.h"
#include "csrc/base/scratch.h"
#include "csrc/base/tensor.h"
#include "csrc/wire/limits.h"
#include "csrc/wire/msgpack_value.h"
#include "csrc/wire/where.h"

namespace pelton {

// What reading a tensor needs beside its value.
struct MsgSource {
  std::span<const std::byte> body;  // that scan_msgpack() let pass
  const DecodeLimits& limits;
  Scratch& scratch;
};

// The members of a tensor's map that mean something; absent ones are nil. `end` is where what
// follows the map begins.
struct MsgTensorMembers {
  MsgValue name, datatype, shape, data, nd, kind, type;
  bool has_datatype = false;
  bool has_shape = false;
  bool has_nd = false;
  bool has_complex = false;
  size_t end = 0;
};
// REQUIRES: `map` is one.
MsgTensorMembers read_msg_members(std::span<const std::byte> body, const MsgValue& map);

// The tensor in a map.
ProblemPtr read_msg_tensor(const MsgSource& source, const MsgTensorMembers& members,
                           std::string_view name, const Where& where, TensorView& tensor);
// The tensor in a map or an extension.
ProblemPtr read_msg_tensor(const MsgSource& source, const MsgValue& value, std::string_view name,
                           const Where& where, TensorView& tensor);

// Each kInvalidInput unless the value is one. read_msg_text: a string of at most `bytes_max` bytes.
ProblemPtr expect_msg_map(const MsgValue& value, const Where& where, bool is_item = false);
ProblemPtr expect_msg_array(const MsgValue& value, const Where& where, int64_t items_max);
ProblemPtr read_msg_text(const MsgValue& value, const Where& where, int64_t bytes_max,
                         std::string_view& text);
ProblemPtr read_msg_name(const MsgValue& value, const Where& where, const DecodeLimits& limits,
                         std::string_view& name);

// Calls visit(name, value) for each entry of a map, in order; the value of an entry may be read
// further from value.start. Returns where what follows the map begins.
template <typename Visit>
size_t for_each_member(std::span<const std::byte> body, const MsgValue& map, Visit&& visit) {
  MsgReader reader(body, map.start);
  for (uint32_t i = 0; i < map.size; ++i) {
    const std::string_view name = reader.next().text();
    const MsgReader before = reader;
    const MsgValue value = reader.next();
    if (value.type == MsgType::kArray || value.type == MsgType::kMap) {
      reader = before;
      reader.skip();
    }
    visit(name, value);
  }
  return reader.position();
}

}  // namespace pelton
