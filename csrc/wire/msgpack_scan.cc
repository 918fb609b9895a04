// The scan of a body before anything is read from it.
//
// msgpack declares lengths before content, so a few bytes can claim anything: 0.2 MB of nested
// arrays made a widely used decoder reserve 800 MB. Here every length is first held against the
// bytes that are left.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string>

#include "csrc/wire/json_text.h"
#include "csrc/wire/msgpack_token.h"
#include "csrc/wire/msgpack_value.h"
#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

constexpr int kDepthMax = 8;
constexpr uint32_t kMapEntriesMax = 64;
constexpr int64_t kAllEntriesMax = 1024;
// Arrays and maps in all: an empty one is one byte here and a value to whoever reads it.
constexpr int64_t kContainersMax = 1 << 16;

std::string hex_text(uint8_t code) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "0x";
  if (code >= 0x10) text += kDigits[code >> 4];
  return text + kDigits[code & 0x0F];
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

  ProblemPtr leaves(size_t& position);
  ProblemPtr value(size_t& position);
  ProblemPtr open_container(const MsgToken& token, size_t& position);
  ProblemPtr key(size_t& position);
  ProblemPtr count(int64_t nodes, int64_t objects, size_t position);
  void check_utf8(size_t start, size_t size);
  static ProblemPtr bad_utf8(size_t offset) {
    return bad_msgpack("a str or key is not UTF-8", offset);
  }

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
    return bad_msgpack(std::to_string(body_.size() - position) + " bytes follow the value",
                       position);
  }
  return bad_utf8_ == SIZE_MAX ? nullptr : bad_utf8(bad_utf8_);
}

// Steps over the scalars and short strings that come next in an array, or at the root; of more than
// there may be, over the first too many.
ProblemPtr Scan::leaves(size_t& position) {
  uint32_t& left = open_[static_cast<size_t>(depth_ - 1)].left;
  const uint32_t before = left;
  const int64_t enough = std::max<int64_t>(left - (limits_.nodes_max - nodes_) - 1, 0);
  int64_t strings = 0;
  while (left > enough && position < body_.size()) {
    const auto tag = static_cast<uint8_t>(body_[position]);
    size_t size = kMsgScalarSizes[tag];
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
  MsgToken token;
  PELTON_RETURN_IF_PROBLEM(read_msg_token(body_, position, token));
  if (token.kind == MsgTokenKind::kArray || token.kind == MsgTokenKind::kMap) {
    PELTON_RETURN_IF_PROBLEM(count(1, 0, position));
    return open_container(token, position);
  }
  PELTON_RETURN_IF_PROBLEM(count(1, token.kind != MsgTokenKind::kScalar, position));
  if (token.kind == MsgTokenKind::kStr) {
    if (token.size > limits_.string_bytes_max) {
      return bad_msgpack(
          "a str has more than " + std::to_string(limits_.string_bytes_max) + " bytes", position);
    }
    check_utf8(token.start, token.size);
  } else if (token.kind == MsgTokenKind::kExt) {
    if (token.code != kMsgTensorExt) {
      return bad_msgpack(
          "extension type " + hex_text(token.code) + " is not " + hex_text(kMsgTensorExt),
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
ProblemPtr Scan::open_container(const MsgToken& token, size_t& position) {
  const bool is_map = token.kind == MsgTokenKind::kMap;
  const size_t left = body_.size() - token.start;
  if (size_t{token.size} * (is_map ? 2 : 1) > left) {
    return bad_msgpack(std::to_string(token.size) + " items of " +
                           std::string(msg_kind_name(token.kind)) + " cannot fit " +
                           std::to_string(left) + " bytes",
                       position);
  }
  if (depth_ > kDepthMax) {
    return bad_msgpack("values are nested deeper than " + std::to_string(kDepthMax), position);
  }
  if (++containers_ > kContainersMax) return refused("arrays and maps", kContainersMax, position);
  if (is_map) {
    entries_ += token.size;
    if (token.size > kMapEntriesMax || entries_ > kAllEntriesMax) {
      return bad_msgpack("more than " + std::to_string(kMapEntriesMax) + " entries in a map or " +
                             std::to_string(kAllEntriesMax) + " in all",
                         position);
    }
  } else if (const size_t run = msg_number_run_bytes(body_, token)) {
    PELTON_RETURN_IF_PROBLEM(count(token.size, 0, position));
    position = token.start + run;
    return nullptr;
  }
  open_[static_cast<size_t>(depth_++)] = {token.size, is_map, key_count_};
  position = token.start;
  return nullptr;
}

ProblemPtr Scan::key(size_t& position) {
  MsgToken token;
  PELTON_RETURN_IF_PROBLEM(read_msg_token(body_, position, token));
  if (token.kind != MsgTokenKind::kStr && token.kind != MsgTokenKind::kBin) {
    return bad_msgpack(
        "a map key is of kind " + std::string(msg_kind_name(token.kind)) + ", not str or bin",
        position);
  }
  if (token.size > limits_.name_bytes_max) {
    return bad_msgpack(
        "a map key has more than " + std::to_string(limits_.name_bytes_max) + " bytes", position);
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
    return bad_msgpack("the key " + python_repr(text) + " comes twice in one map", position);
  }
  keys_[key_count_++] = {bytes, token.size};
  position = token.start + token.size;
  return nullptr;
}

void Scan::check_utf8(size_t start, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(body_.data()) + start, size);
  constexpr size_t kShortMax = 32;  // names: ASCII, and not worth a call
  if (size <= kShortMax) {
    const auto add = [](uint8_t bits, char c) {
      return static_cast<uint8_t>(bits | static_cast<uint8_t>(c));
    };
    if (std::accumulate(text.begin(), text.end(), uint8_t{0}, add) < 0x80) return;
  }
  size_t bad_offset = 0;
  if (bad_utf8_ == SIZE_MAX && !is_utf8(text, &bad_offset)) bad_utf8_ = start + bad_offset;
}

}  // namespace

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

}  // namespace pelton
