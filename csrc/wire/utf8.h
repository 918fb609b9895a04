// Code points of UTF-8 text (RFC 3629: shortest forms, no surrogates, nothing above U+10FFFF).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace pelton {

// Of a byte that begins no valid sequence: `is_valid` false, one byte, and the lone surrogate
// U+DC80 to U+DCFF that Python's error handler `surrogateescape` makes of it.
struct CodePoint {
  uint32_t value = 0;
  uint8_t bytes = 1;
  bool is_valid = true;
};

// The first code point. REQUIRES: `text` is not empty.
CodePoint read_code_point(std::string_view text);

// Writes the code point to `out`, which has room for 4 bytes; returns how many it took. REQUIRES:
// it is no surrogate.
size_t write_code_point(uint32_t value, char* out);

// How many code points there are; bytes that are not UTF-8 count one each.
size_t count_code_points(std::string_view text);
// The first `count` of them, or all.
std::string_view first_code_points(std::string_view text, size_t count);

// The text whose code points are the bytes (ISO 8859-1), as header fields are read.
std::string latin1_to_utf8(std::string_view bytes);

}  // namespace pelton
