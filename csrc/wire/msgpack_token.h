// Tokens of msgpack: what the first bytes of a value say. Internal to the msgpack sources.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "csrc/base/problem.h"

namespace pelton {

enum class MsgTokenKind : uint8_t { kScalar, kStr, kBin, kExt, kArray, kMap };

struct MsgToken {
  MsgTokenKind kind;
  uint8_t code;   // of an ext
  uint32_t size;  // bytes of str, bin, ext and scalars behind the head, items of array and map
  size_t start;   // where what follows the head begins
};

std::string_view msg_kind_name(MsgTokenKind kind);

// By first byte: bytes of a whole scalar, 0 for everything else.
constexpr std::array<uint8_t, 256> msg_scalar_sizes() {
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
inline constexpr std::array<uint8_t, 256> kMsgScalarSizes = msg_scalar_sizes();

// REQUIRES: sizeof(T) bytes are there.
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

// kInvalidInput: the body is not msgpack, and why.
ProblemPtr bad_msgpack(std::string_view what, size_t offset);

// The token at `position`: its head lies in the body, and so do its bytes if it has any.
ProblemPtr read_msg_token(std::span<const std::byte> body, size_t position, MsgToken& token);

// Bytes of an array's items if there are many, and all are numbers of one encoded width, else 0.
// REQUIRES: the items fit the body at a byte each.
size_t msg_number_run_bytes(std::span<const std::byte> body, const MsgToken& array);

}  // namespace pelton
