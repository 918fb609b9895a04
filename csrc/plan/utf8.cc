#include "csrc/plan/utf8.h"

#include <cstdint>

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

// Bytes of the sequence that starts `text`, which begins with no ASCII byte; 0 when malformed.
size_t sequence_bytes(std::string_view text) {
  const auto byte = [text](size_t index) { return static_cast<uint8_t>(text[index]); };
  for (const Sequence& row : kSequences) {
    if (byte(0) < row.first_low || byte(0) > row.first_high) continue;
    if (text.size() < row.bytes || byte(1) < row.second_low || byte(1) > row.second_high) return 0;
    for (size_t index = 2; index < row.bytes; ++index) {
      if (byte(index) < 0x80 || byte(index) > 0xBF) return 0;
    }
    return row.bytes;
  }
  return 0;
}

}  // namespace

size_t utf8_prefix_bytes(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (static_cast<uint8_t>(text[at]) < 0x80) {
      ++at;
      continue;
    }
    const size_t bytes = sequence_bytes(text.substr(at));
    if (bytes == 0) return at;
    at += bytes;
  }
  return at;
}

}  // namespace pelton
