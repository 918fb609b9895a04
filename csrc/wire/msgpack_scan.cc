// The scan of a body before anything is read from it, and the reader of what passed.
//
// msgpack declares lengths before content, so a few bytes can claim anything: 0.2 MB of nested
// arrays made a widely used decoder reserve 800 MB. Here every length is first held against the
// bytes that are left.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <string>

#include "csrc/base/check.h"
#include "csrc/wire/json_text.h"
#include "csrc/wire/msgpack_value.h"
#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

constexpr int kDepthMax = 8;
constexpr uint32_t kMapEntriesMax = 64;
constexpr int64_t kAllEntriesMax = 1024;
// Arrays and maps in all: an empty one is one byte here and a value to whoever reads it.
constexpr int64_t kContainersMax = 1 << 16;
// Arrays shorter than this are walked; the check whether a longer one is uniform pays for itself.
constexpr uint32_t kRunMin = 16;

enum class TokenKind : uint8_t { kScalar, kStr, kBin, kExt, kArray, kMap };

constexpr std::string_view kKindNames[] = {"scalar", "str", "bin", "ext", "array", "map"};

std::string_view name_of(TokenKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

struct Token {
  TokenKind kind;
  uint8_t code;   // of an ext
  uint32_t size;  // bytes of str, bin, ext and scalars behind the head, items of array and map
  size_t start;   // where what follows the head begins
};

// By first byte: bytes of a whole scalar, 0 for everything else.
constexpr std::array<uint8_t, 256> scalar_sizes() {
  std::array<uint8_t, 256> sizes{};
  for (size_t tag = 0; tag < sizes.size(); ++tag) {
    if (tag <= 0x7F || tag >= 0xE0 || tag == 0xC0 || tag == 0xC2 || tag == 0xC3) sizes[tag] = 1;
  }
  sizes[0xCC] = sizes[0xD0] = 2;
  sizes[0xCD] = sizes[0xD1] = 3;
  sizes[0xCA] = sizes[0xCE] = sizes[0xD2] = 5;
  sizes[0xCB] = sizes[0xCF] = sizes[0xD3] = 9;
  return sizes;
}
constexpr std::array<uint8_t, 256> kScalarSizes = scalar_sizes();

// What the first bytes 0xC4 to 0xDF that are no scalars announce. `length_bytes`: 0 where `size`
// says it.
struct Head {
  TokenKind kind;
  uint8_t length_bytes;
  uint8_t size;
};
constexpr std::array<Head, 32> heads() {
  std::array<Head, 32> table{};
  const auto set = [&table](size_t tag, Head head) { table[tag - 0xC0] = head; };
  for (size_t step = 0; step < 3; ++step) {
    const auto width = static_cast<uint8_t>(1 << step);
    set(0xC4 + step, {TokenKind::kBin, width, 0});
    set(0xC7 + step, {TokenKind::kExt, width, 0});
    set(0xD9 + step, {TokenKind::kStr, width, 0});
  }
  for (size_t step = 0; step < 5; ++step) {
    set(0xD4 + step, {TokenKind::kExt, 0, static_cast<uint8_t>(1 << step)});
  }
  set(0xDC, {TokenKind::kArray, 2, 0});
  set(0xDD, {TokenKind::kArray, 4, 0});
  set(0xDE, {TokenKind::kMap, 2, 0});
  set(0xDF, {TokenKind::kMap, 4, 0});
  return table;
}
constexpr std::array<Head, 32> kHeads = heads();

template <typename T>
T load_big_endian(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  }
  return value;
}

uint32_t load_length(const std::byte* bytes, int width) {
  if (width == 1) return static_cast<uint8_t>(*bytes);
  return width == 2 ? load_big_endian<uint16_t>(bytes) : load_big_endian<uint32_t>(bytes);
}

std::string hex_text(uint8_t code) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  if (code >= 0x10) text += kDigits[code >> 4];
  return text + kDigits[code & 0x0F];
}

ProblemPtr bad(const std::string& what, size_t offset) {
  ProblemPtr problem =
      make_problem(ProblemKind::kInvalidInput,
                   "the body is not msgpack: " + what + ", at byte " + std::to_string(offset));
  problem->offset = static_cast<int64_t>(offset);
  return problem;
}

ProblemPtr refused(std::string_view what, int64_t count_max, size_t offset) {
  const std::string limit = std::to_string(count_max) + " " + std::string(what);
  ProblemPtr problem =
      make_problem(ProblemKind::kPayloadTooLarge,
                   "the body holds more than " + limit + ", at byte " + std::to_string(offset));
  problem->expected = "at most " + limit;
  problem->offset = static_cast<int64_t>(offset);
  return problem;
}

// The token at `position`. Its head lies in the body, and so do its bytes if it has any.
ProblemPtr read_token(std::span<const std::byte> body, size_t position, Token& token) {
  if (position >= body.size()) return bad("it ends where a value was expected", position);
  const auto tag = static_cast<uint8_t>(body[position]);
  size_t start = position + 1;
  token.code = 0;
  if (const uint8_t size = kScalarSizes[tag]) {
    token.kind = TokenKind::kScalar;
    token.size = size - 1u;
  } else if (tag <= 0x9F) {
    token = {tag <= 0x8F ? TokenKind::kMap : TokenKind::kArray, 0, tag & 0x0Fu, start};
    return nullptr;
  } else if (tag <= 0xBF) {
    token.kind = TokenKind::kStr;
    token.size = tag & 0x1Fu;
  } else if (tag == 0xC1) {
    return bad("the byte 0xC1 is never used", position);
  } else {
    const Head head = kHeads[tag - 0xC0];
    token.kind = head.kind;
    token.size = head.size;
    if (head.length_bytes > 0) {
      if (head.length_bytes > body.size() - start) return bad("it ends inside a length", position);
      token.size = load_length(body.data() + start, head.length_bytes);
      start += head.length_bytes;
    }
    if (head.kind == TokenKind::kArray || head.kind == TokenKind::kMap) {
      token.start = start;
      return nullptr;
    }
    if (head.kind == TokenKind::kExt) {
      if (start >= body.size()) return bad("it ends inside an extension", position);
      token.code = static_cast<uint8_t>(body[start++]);
    }
  }
  token.start = start;
  if (token.size > body.size() - start) {
    return bad(std::to_string(token.size) + " bytes of " + std::string(name_of(token.kind)) +
                   " are declared, " + std::to_string(body.size() - start) + " are left",
               position);
  }
  return nullptr;
}

// Bytes of an array's items if they are all numbers of one encoded width, else 0. REQUIRES: the
// items fit the body at a byte each.
size_t number_run_bytes(std::span<const std::byte> body, const Token& array) {
  if (array.size < kRunMin) return 0;
  const auto* const items = reinterpret_cast<const uint8_t*>(body.data()) + array.start;
  const uint8_t tag = items[0];
  if (tag <= 0x7F || tag >= 0xE0) {
    bool is_run = true;  // no early exit: the loop is then one of vectors
    for (size_t i = 0; i < array.size; ++i) is_run &= static_cast<int8_t>(items[i]) >= -32;
    return is_run ? array.size : 0;
  }
  const size_t width = kScalarSizes[tag];
  if (width < 2 || size_t{array.size} * width > body.size() - array.start) return 0;
  for (size_t i = 0; i < array.size; ++i) {
    if (items[i * width] != tag) return 0;
  }
  return array.size * width;
}

class Scan {
 public:
  Scan(std::span<const std::byte> body, const DecodeLimits& limits) : body_(body), limits_(limits) {
    open_[0] = {1, false, 0};
  }

  ProblemPtr run();

 private:
  struct Container {
    uint32_t left;  // items or entries still to come
    bool is_map;
    uint32_t keys_begin;  // its keys are those from here on
  };
  struct Key {
    const std::byte* bytes;
    size_t size;
  };

  void step_over_leaves(size_t& position, int64_t& nodes, int64_t& strings);
  ProblemPtr leaves(size_t& position);
  ProblemPtr value(size_t& position);
  ProblemPtr open_container(const Token& token, size_t& position);
  ProblemPtr key(size_t& position);
  ProblemPtr count(int64_t nodes, int64_t objects, size_t position);
  void check_utf8(size_t start, size_t size);
  static ProblemPtr bad_utf8(size_t offset) { return bad("a str or key is not UTF-8", offset); }

  const std::span<const std::byte> body_;
  const DecodeLimits& limits_;
  int64_t nodes_ = 0;
  int64_t objects_ = 0;
  int64_t containers_ = 0;
  int64_t extensions_ = 0;
  int64_t entries_ = 0;
  // Where a string first stops being UTF-8: told only of a body that is msgpack otherwise.
  size_t bad_utf8_ = SIZE_MAX;
  int depth_ = 1;  // of open_
  uint32_t key_count_ = 0;
  std::array<Container, kDepthMax + 1> open_;
  std::array<Key, kDepthMax * kMapEntriesMax> keys_;  // of the open maps, outermost first
};

ProblemPtr Scan::run() {
  size_t position = 0;
  while (depth_ > 0) {
    Container& container = open_[static_cast<size_t>(depth_ - 1)];
    if (!container.is_map) PELTON_RETURN_IF_PROBLEM(leaves(position));
    if (container.left == 0) {
      if (container.is_map) key_count_ = container.keys_begin;
      --depth_;
      continue;
    }
    --container.left;
    if (container.is_map) PELTON_RETURN_IF_PROBLEM(key(position));
    PELTON_RETURN_IF_PROBLEM(value(position));
  }
  if (position != body_.size()) {
    return bad(std::to_string(body_.size() - position) + " bytes follow the value", position);
  }
  return bad_utf8_ == SIZE_MAX ? nullptr : bad_utf8(bad_utf8_);
}

// Steps over the scalars and short strings that come next in an array, or at the root.
ProblemPtr Scan::leaves(size_t& position) {
  uint32_t& left = open_[static_cast<size_t>(depth_ - 1)].left;
  const uint32_t before = left;
  int64_t strings = 0;
  while (left > 0 && position < body_.size()) {
    const auto tag = static_cast<uint8_t>(body_[position]);
    size_t size = kScalarSizes[tag];
    if (size == 0) {
      if (tag < 0xA0 || tag > 0xBF) break;
      size = tag - 0x9Fu;
    }
    if (size > body_.size() - position) break;  // value() says what is missing
    if (tag >= 0xA0 && tag <= 0xBF) {
      ++strings;
      check_utf8(position + 1, size - 1);
    }
    position += size;
    --left;
  }
  return count(int64_t{before} - left, strings, position);
}

ProblemPtr Scan::value(size_t& position) {
  Token token;
  PELTON_RETURN_IF_PROBLEM(read_token(body_, position, token));
  if (token.kind == TokenKind::kArray || token.kind == TokenKind::kMap) {
    PELTON_RETURN_IF_PROBLEM(count(1, 0, position));
    return open_container(token, position);
  }
  PELTON_RETURN_IF_PROBLEM(count(1, token.kind != TokenKind::kScalar, position));
  if (token.kind == TokenKind::kStr) {
    if (token.size > limits_.string_bytes_max) {
      return bad("a str has more than " + std::to_string(limits_.string_bytes_max) + " bytes",
                 position);
    }
    check_utf8(token.start, token.size);
  } else if (token.kind == TokenKind::kExt) {
    if (token.code != kMsgTensorExt) {
      return bad("extension type " + hex_text(token.code) + " is not " + hex_text(kMsgTensorExt),
                 position);
    }
    if (++extensions_ > limits_.tensors_max) {
      return refused("extensions", limits_.tensors_max, position);
    }
  }
  position = token.start + token.size;
  return nullptr;
}

ProblemPtr Scan::count(int64_t nodes, int64_t objects, size_t position) {
  nodes_ += nodes;
  objects_ += objects;
  if (nodes_ > limits_.nodes_max) return refused("values", limits_.nodes_max, position);
  if (objects_ > limits_.containers_max) {
    return refused("strings and blobs", limits_.containers_max, position);
  }
  return nullptr;
}

// Opens an array or map, or steps over an array of numbers.
ProblemPtr Scan::open_container(const Token& token, size_t& position) {
  const bool is_map = token.kind == TokenKind::kMap;
  const size_t left = body_.size() - token.start;
  if (size_t{token.size} * (is_map ? 2 : 1) > left) {
    return bad(std::to_string(token.size) + " items of " + std::string(name_of(token.kind)) +
                   " cannot fit " + std::to_string(left) + " bytes",
               position);
  }
  if (depth_ > kDepthMax) {
    return bad("values are nested deeper than " + std::to_string(kDepthMax), position);
  }
  if (++containers_ > kContainersMax) return refused("arrays and maps", kContainersMax, position);
  if (is_map) {
    entries_ += token.size;
    if (token.size > kMapEntriesMax || entries_ > kAllEntriesMax) {
      return bad("more than " + std::to_string(kMapEntriesMax) + " entries in a map or " +
                     std::to_string(kAllEntriesMax) + " in all",
                 position);
    }
  } else if (const size_t run = number_run_bytes(body_, token)) {
    PELTON_RETURN_IF_PROBLEM(count(token.size, 0, position));
    position = token.start + run;
    return nullptr;
  }
  open_[static_cast<size_t>(depth_++)] = {token.size, is_map, key_count_};
  position = token.start;
  return nullptr;
}

ProblemPtr Scan::key(size_t& position) {
  Token token;
  PELTON_RETURN_IF_PROBLEM(read_token(body_, position, token));
  if (token.kind != TokenKind::kStr && token.kind != TokenKind::kBin) {
    return bad("a map key is of kind " + std::string(name_of(token.kind)) + ", not str or bin",
               position);
  }
  if (token.size > limits_.name_bytes_max) {
    return bad("a map key has more than " + std::to_string(limits_.name_bytes_max) + " bytes",
               position);
  }
  const std::byte* const bytes = body_.data() + token.start;
  check_utf8(token.start, token.size);
  for (uint32_t i = open_[static_cast<size_t>(depth_ - 1)].keys_begin; i < key_count_; ++i) {
    if (keys_[i].size != token.size || std::memcmp(keys_[i].bytes, bytes, token.size) != 0) {
      continue;
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes), token.size);
    size_t bad_offset = 0;
    if (!is_utf8(text, &bad_offset)) return bad_utf8(token.start + bad_offset);
    return bad("the key " + python_repr(text) + " comes twice in one map", position);
  }
  keys_[key_count_++] = {bytes, token.size};
  position = token.start + token.size;
  return nullptr;
}

void Scan::check_utf8(size_t start, size_t size) {
  size_t bad_offset = 0;
  const std::string_view text(reinterpret_cast<const char*>(body_.data()) + start, size);
  if (bad_utf8_ == SIZE_MAX && !is_utf8(text, &bad_offset)) bad_utf8_ = start + bad_offset;
}

MsgValue scalar(const std::byte* at) {
  const auto signed_value = [](int64_t number) {
    MsgValue value;
    value.type = number < 0 ? MsgType::kNegative : MsgType::kUnsigned;
    value.bits = static_cast<uint64_t>(number);
    return value;
  };
  const auto unsigned_value = [](uint64_t number) {
    MsgValue value;
    value.type = MsgType::kUnsigned;
    value.bits = number;
    return value;
  };
  const auto float_value = [](double number) {
    MsgValue value;
    value.type = MsgType::kFloat;
    value.bits = std::bit_cast<uint64_t>(number);
    return value;
  };
  const auto tag = static_cast<uint8_t>(*at++);
  MsgValue value;
  switch (tag) {
    case 0xC0:
      return value;
    case 0xC2:
      value.type = MsgType::kFalse;
      return value;
    case 0xC3:
      value.type = MsgType::kTrue;
      return value;
    case 0xCA:
      return float_value(std::bit_cast<float>(load_big_endian<uint32_t>(at)));
    case 0xCB:
      return float_value(std::bit_cast<double>(load_big_endian<uint64_t>(at)));
    case 0xCC:
      return unsigned_value(static_cast<uint8_t>(*at));
    case 0xCD:
      return unsigned_value(load_big_endian<uint16_t>(at));
    case 0xCE:
      return unsigned_value(load_big_endian<uint32_t>(at));
    case 0xCF:
      return unsigned_value(load_big_endian<uint64_t>(at));
    case 0xD0:
      return signed_value(static_cast<int8_t>(*at));
    case 0xD1:
      return signed_value(static_cast<int16_t>(load_big_endian<uint16_t>(at)));
    case 0xD2:
      return signed_value(static_cast<int32_t>(load_big_endian<uint32_t>(at)));
    case 0xD3:
      return signed_value(static_cast<int64_t>(load_big_endian<uint64_t>(at)));
    default:
      return signed_value(static_cast<int8_t>(tag));  // a fixint of either sign
  }
}

}  // namespace

double MsgValue::real() const { return std::bit_cast<double>(bits); }

ProblemPtr scan_msgpack(std::span<const std::byte> body, const DecodeLimits& limits) {
  if (body.empty()) {
    ProblemPtr problem =
        make_problem(ProblemKind::kInvalidInput, "the body is empty, expected msgpack");
    problem->expected = "msgpack";
    problem->got = "0 bytes";
    return problem;
  }
  return Scan(body, limits).run();
}

MsgValue MsgReader::next() {
  const std::byte* const at = body_.data() + position_;
  if (const uint8_t size = kScalarSizes[static_cast<uint8_t>(*at)]) {
    position_ += size;
    return scalar(at);
  }
  Token token;
  PELTON_CHECK(!read_token(body_, position_, token));
  constexpr MsgType kTypes[] = {MsgType::kNil, MsgType::kStr,   MsgType::kBin,
                                MsgType::kExt, MsgType::kArray, MsgType::kMap};
  MsgValue value;
  value.type = kTypes[static_cast<size_t>(token.kind)];
  value.code = token.code;
  value.size = token.size;
  value.start = token.start;
  value.content = reinterpret_cast<const char*>(body_.data()) + token.start;
  position_ = token.start;
  if (token.kind != TokenKind::kArray && token.kind != TokenKind::kMap) position_ += token.size;
  return value;
}

void MsgReader::skip() {
  for (size_t left = 1; left > 0; --left) {
    Token token;
    PELTON_CHECK(!read_token(body_, position_, token));
    position_ = token.start;
    if (token.kind == TokenKind::kMap) {
      left += 2 * size_t{token.size};
    } else if (token.kind != TokenKind::kArray) {
      position_ += token.size;
    } else if (const size_t run = number_run_bytes(body_, token)) {
      position_ += run;
    } else {
      left += token.size;
    }
  }
}

}  // namespace pelton
