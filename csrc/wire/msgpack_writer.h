// msgpack written: each function appends one token, in the shortest form that holds the
// value. The oracle is msgpack.Packer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pelton {

// `bytes` bytes of a number, highest first.
inline void append_big_endian(uint64_t value, int bytes, std::string& out) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>(value >> shift & 0xFF);
  }
}

inline void append_msg_head(int tag, uint64_t value, int bytes, std::string& out) {
  out += static_cast<char>(tag);
  append_big_endian(value, bytes, out);
}

// REQUIRES of the sizes here: below 2^32.
inline void append_msg_map(size_t entries, std::string& out) {
  if (entries < 16) return append_msg_head(static_cast<int>(0x80 | entries), 0, 0, out);
  if (entries >> 16 == 0) return append_msg_head(0xDE, entries, 2, out);
  append_msg_head(0xDF, entries, 4, out);
}

inline void append_msg_array(size_t items, std::string& out) {
  if (items < 16) return append_msg_head(static_cast<int>(0x90 | items), 0, 0, out);
  if (items >> 16 == 0) return append_msg_head(0xDC, items, 2, out);
  append_msg_head(0xDD, items, 4, out);
}

inline void append_msg_str(std::string_view text, std::string& out) {
  const size_t size = text.size();
  if (size < 32) {
    append_msg_head(static_cast<int>(0xA0 | size), 0, 0, out);
  } else if (size >> 8 == 0) {
    append_msg_head(0xD9, size, 1, out);
  } else if (size >> 16 == 0) {
    append_msg_head(0xDA, size, 2, out);
  } else {
    append_msg_head(0xDB, size, 4, out);
  }
  out += text;
}

// The head of a bin; its bytes follow.
inline void append_msg_bin(size_t size, std::string& out) {
  if (size >> 8 == 0) return append_msg_head(0xC4, size, 1, out);
  if (size >> 16 == 0) return append_msg_head(0xC5, size, 2, out);
  append_msg_head(0xC6, size, 4, out);
}

inline void append_msg_uint(uint64_t value, std::string& out) {
  if (value < 0x80) return append_msg_head(static_cast<int>(value), 0, 0, out);
  if (value >> 8 == 0) return append_msg_head(0xCC, value, 1, out);
  if (value >> 16 == 0) return append_msg_head(0xCD, value, 2, out);
  if (value >> 32 == 0) return append_msg_head(0xCE, value, 4, out);
  append_msg_head(0xCF, value, 8, out);
}

inline void append_msg_int(int64_t value, std::string& out) {
  const auto bits = static_cast<uint64_t>(value);
  if (value >= 0) return append_msg_uint(bits, out);
  if (value >= -0x20) return append_msg_head(static_cast<int>(bits & 0xFF), 0, 0, out);
  if (value >= -0x80) return append_msg_head(0xD0, bits, 1, out);
  if (value >= -0x8000) return append_msg_head(0xD1, bits, 2, out);
  if (value >= -0x80000000LL) return append_msg_head(0xD2, bits, 4, out);
  append_msg_head(0xD3, bits, 8, out);
}

}  // namespace pelton
