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
// further from value.start.
template <typename Visit>
void for_each_member(std::span<const std::byte> body, const MsgValue& map, Visit&& visit) {
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
}

}  // namespace pelton
