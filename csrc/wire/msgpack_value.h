// msgpack (github.com/msgpack/msgpack, spec.md) as tokens and values over the bytes of a body.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "csrc/base/problem.h"
#include "csrc/wire/limits.h"

namespace pelton {

// The only extension type that is read: a tensor in one blob.
inline constexpr uint8_t kMsgTensorExt = 0x54;

enum class MsgType : uint8_t {
  kNil,
  kFalse,
  kTrue,
  kNegative,  // an integer below 0: `bits` as int64_t
  kUnsigned,  // an integer of 0 or more: `bits`
  kFloat,     // `bits` as double
  kStr,
  kBin,
  kExt,
  kArray,
  kMap,
};

// One value, which views the body. A default one stands for a member that is absent.
struct MsgValue {
  MsgType type = MsgType::kNil;
  uint8_t code = 0;               // kExt: its type
  uint32_t size = 0;              // kStr, kBin, kExt: bytes; kArray: items; kMap: entries
  size_t start = 0;               // where its bytes, or the first item or key, begin in the body
  uint64_t bits = 0;              // numbers
  const char* content = nullptr;  // kStr, kBin, kExt: its bytes

  bool is_integer() const { return type == MsgType::kNegative || type == MsgType::kUnsigned; }
  bool is_bool() const { return type == MsgType::kFalse || type == MsgType::kTrue; }
  bool is_number() const { return is_integer() || type == MsgType::kFloat; }
  int64_t negative() const { return static_cast<int64_t>(bits); }
  double real() const;
  // REQUIRES: kStr, kBin or kExt.
  std::string_view text() const { return {content, size}; }
};

// kInvalidInput with the byte offset where `body` is not one msgpack value of the kind that is read
// here, kPayloadTooLarge where it holds more than the limits allow: depth, map entries, containers,
// strings, values, lengths, duplicate keys, UTF-8. A flat walk that allocates nothing.
ProblemPtr scan_msgpack(std::span<const std::byte> body, const DecodeLimits& limits);

// Values of a body that scan_msgpack() let pass, one after the other. A copy is a bookmark.
class MsgReader {
 public:
  MsgReader(std::span<const std::byte> body, size_t position) : body_(body), position_(position) {}

  // Reads the value here and goes behind it; of an array or map, to its first item or key.
  MsgValue next();
  // Goes over the value here, whatever it holds.
  void skip();
  size_t position() const { return position_; }

 private:
  std::span<const std::byte> body_;
  size_t position_;
};

}  // namespace pelton
