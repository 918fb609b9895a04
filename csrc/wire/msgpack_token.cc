#include "csrc/wire/msgpack_token.h"

#include <string>

namespace pelton {
namespace {

// Arrays shorter than this are walked; the check whether a longer one is uniform pays for itself.
constexpr uint32_t kRunMin = 16;

// What the first bytes 0xC4 to 0xDF that are no scalars announce. `length_bytes`: 0 where `size`
// says it.
struct Head {
  MsgTokenKind kind;
  uint8_t length_bytes;
  uint8_t size;
};
constexpr std::array<Head, 32> heads() {
  std::array<Head, 32> table{};
  const auto set = [&table](size_t tag, Head head) { table[tag - 0xC0] = head; };
  for (size_t step = 0; step < 3; ++step) {
    const auto width = static_cast<uint8_t>(1 << step);
    set(0xC4 + step, {MsgTokenKind::kBin, width, 0});
    set(0xC7 + step, {MsgTokenKind::kExt, width, 0});
    set(0xD9 + step, {MsgTokenKind::kStr, width, 0});
  }
  for (size_t step = 0; step < 5; ++step) {
    set(0xD4 + step, {MsgTokenKind::kExt, 0, static_cast<uint8_t>(1 << step)});
  }
  set(0xDC, {MsgTokenKind::kArray, 2, 0});
  set(0xDD, {MsgTokenKind::kArray, 4, 0});
  set(0xDE, {MsgTokenKind::kMap, 2, 0});
  set(0xDF, {MsgTokenKind::kMap, 4, 0});
  return table;
}
constexpr std::array<Head, 32> kHeads = heads();

uint32_t load_length(const std::byte* bytes, int width) {
  if (width == 1) return static_cast<uint8_t>(*bytes);
  return width == 2 ? load_big_endian<uint16_t>(bytes) : load_big_endian<uint32_t>(bytes);
}

}  // namespace

std::string_view msg_kind_name(MsgTokenKind kind) {
  constexpr std::string_view kNames[] = {"scalar", "str", "bin", "ext", "array", "map"};
  return kNames[static_cast<size_t>(kind)];
}

ProblemPtr bad_msgpack(std::string_view what, size_t offset) {
  ProblemPtr problem =
      make_problem(ProblemKind::kInvalidInput, "the body is not msgpack: " + std::string(what) +
                                                   ", at byte " + std::to_string(offset));
  problem->offset = static_cast<int64_t>(offset);
  return problem;
}

ProblemPtr read_msg_token(std::span<const std::byte> body, size_t position, MsgToken& token) {
  if (position >= body.size()) return bad_msgpack("it ends where a value was expected", position);
  const auto tag = static_cast<uint8_t>(body[position]);
  size_t start = position + 1;
  token.code = 0;
  if (const uint8_t size = kMsgScalarSizes[tag]) {
    token.kind = MsgTokenKind::kScalar;
    token.size = size - 1u;
  } else if (tag <= 0x9F) {
    token = {tag <= 0x8F ? MsgTokenKind::kMap : MsgTokenKind::kArray, 0, tag & 0x0Fu, start};
    return nullptr;
  } else if (tag <= 0xBF) {
    token.kind = MsgTokenKind::kStr;
    token.size = tag & 0x1Fu;
  } else if (tag == 0xC1) {
    return bad_msgpack("the byte 0xC1 is never used", position);
  } else {
    const Head head = kHeads[tag - 0xC0];
    token.kind = head.kind;
    token.size = head.size;
    if (head.length_bytes > 0) {
      if (head.length_bytes > body.size() - start)
        return bad_msgpack("it ends inside a length", position);
      token.size = load_length(body.data() + start, head.length_bytes);
      start += head.length_bytes;
    }
    if (head.kind == MsgTokenKind::kArray || head.kind == MsgTokenKind::kMap) {
      token.start = start;
      return nullptr;
    }
    if (head.kind == MsgTokenKind::kExt) {
      if (start >= body.size()) return bad_msgpack("it ends inside an extension", position);
      token.code = static_cast<uint8_t>(body[start++]);
    }
  }
  token.start = start;
  if (token.size > body.size() - start) {
    return bad_msgpack(std::to_string(token.size) + " bytes of " +
                           std::string(msg_kind_name(token.kind)) + " are declared, " +
                           std::to_string(body.size() - start) + " are left",
                       position);
  }
  return nullptr;
}

size_t msg_number_run_bytes(std::span<const std::byte> body, const MsgToken& array) {
  if (array.size < kRunMin) return 0;
  const auto* const items = reinterpret_cast<const uint8_t*>(body.data()) + array.start;
  const uint8_t tag = items[0];
  if (tag <= 0x7F || tag >= 0xE0) {
    bool is_run = true;  // no early exit: the loop is then one of vectors
    for (size_t i = 0; i < array.size; ++i) is_run &= static_cast<int8_t>(items[i]) >= -32;
    return is_run ? array.size : 0;
  }
  const size_t width = kMsgScalarSizes[tag];
  if (width < 2 || size_t{array.size} * width > body.size() - array.start) return 0;
  for (size_t i = 0; i < array.size; ++i) {
    if (items[i * width] != tag) return 0;
  }
  return array.size * width;
}

}  // namespace pelton
