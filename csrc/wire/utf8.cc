#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

// One row of the table of well-formed sequences (RFC 3629, section 4): the range of the first
// byte, the range of the second; any further one is 0x80 to 0xBF.
struct Sequence {
  uint8_t first_low, first_high;
  uint8_t second_low, second_high;
  uint8_t bytes;
};

constexpr Sequence kSequences[] = {
    {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3}, {0xE1, 0xEC, 0x80, 0xBF, 3},
    {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
    {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

CodePoint invalid_byte(uint8_t byte) { return {0xDC00u + byte, 1, false}; }

}  // namespace

CodePoint read_code_point(std::string_view text) {
  const auto byte = [text](size_t index) { return static_cast<uint8_t>(text[index]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return {first, 1, true};
  for (const Sequence& row : kSequences) {
    if (first < row.first_low || first > row.first_high) continue;
    if (text.size() < row.bytes || byte(1) < row.second_low || byte(1) > row.second_high) break;
    uint32_t value = (first & (0xFFu >> (row.bytes + 1))) << 6 | (byte(1) & 0x3Fu);
    for (size_t index = 2; index < row.bytes; ++index) {
      if ((byte(index) & 0xC0) != 0x80) return invalid_byte(first);
      value = value << 6 | (byte(index) & 0x3Fu);
    }
    return {value, row.bytes, true};
  }
  return invalid_byte(first);
}

size_t write_code_point(uint32_t value, char* out) {
  if (value < 0x80) {
    out[0] = static_cast<char>(value);
    return 1;
  }
  const auto tail = [value](int shift) {
    return static_cast<char>(0x80 | (value >> shift & 0x3F));
  };
  if (value < 0x800) {
    out[0] = static_cast<char>(0xC0 | value >> 6);
    out[1] = tail(0);
    return 2;
  }
  if (value < 0x10000) {
    out[0] = static_cast<char>(0xE0 | value >> 12);
    out[1] = tail(6);
    out[2] = tail(0);
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | value >> 18);
  out[1] = tail(12);
  out[2] = tail(6);
  out[3] = tail(0);
  return 4;
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); ++count) at += read_code_point(text.substr(at)).bytes;
  return count;
}

std::string_view first_code_points(std::string_view text, size_t count) {
  size_t at = 0;
  for (; at < text.size() && count > 0; --count) at += read_code_point(text.substr(at)).bytes;
  return text.substr(0, at);
}

std::string latin1_to_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  char piece[4];
  for (const char byte : bytes)
    text.append(piece, write_code_point(static_cast<uint8_t>(byte), piece));
  return text;
}

}  // namespace pelton
