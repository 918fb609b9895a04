// The tokens of JSON, as both readers of it see them (json_document.cc and json_refusal.cc).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "csrc/wire/swar.h"

namespace pelton {

inline constexpr std::string_view kUtf8Bom = "\xEF\xBB\xBF";
// Levels of arrays and objects around a tensor's nested data: the root, `inputs`, the tensor. One
// more is left for unknown members, which are ignored.
inline constexpr int kJsonOuterLevels = 4;

struct NumberScan {
  const char* end = nullptr;     // nullptr: there is no number
  bool is_integer = true;        // no fraction, no exponent, no literal
  bool is_infinity = false;      // an infinite literal
  bool may_overflow = false;     // float64 may be too small for it
  ptrdiff_t digits_in_line = 0;  // the most digits one after the other
};

inline bool begins_with(const char* at, const char* end, std::string_view text) {
  return static_cast<size_t>(end - at) >= text.size() && std::equal(text.begin(), text.end(), at);
}

// The longest number that the text begins with, as Python's json reads it. `takes_inf`: so is the
// literal Inf. REQUIRES: at < end.
inline NumberScan scan_number(const char* at, const char* end, bool takes_inf) {
  NumberScan scan;
  if (*at == 'N') {
    scan.is_integer = false;
    if (begins_with(at, end, "NaN")) scan.end = at + 3;
    return scan;
  }
  if (*at == '-' && ++at == end) return scan;
  if (*at == 'I') {
    scan.is_integer = false;
    scan.is_infinity = true;
    if (begins_with(at, end, "Infinity")) {
      scan.end = at + 8;
    } else if (takes_inf && begins_with(at, end, "Inf")) {
      scan.end = at + 3;
    }
    return scan;
  }
  if (!is_digit(*at)) return scan;
  const char* digits = at;
  at = *at == '0' ? at + 1 : skip_digits(at + 1, end);
  scan.digits_in_line = at - digits;
  if (end - at >= 2 && *at == '.' && is_digit(at[1])) {
    scan.is_integer = false;
    digits = at + 1;
    at = skip_digits(at + 2, end);
    scan.digits_in_line = std::max(scan.digits_in_line, at - digits);
  }
  scan.may_overflow = scan.digits_in_line > 300;
  if (end - at >= 2 && (*at == 'e' || *at == 'E')) {
    digits = at + 1;
    if (end - digits >= 2 && (*digits == '-' || *digits == '+')) ++digits;
    if (is_digit(*digits)) {
      scan.is_integer = false;
      at = skip_digits(digits, end);
      scan.digits_in_line = std::max(scan.digits_in_line, at - digits);
      scan.may_overflow |= at - digits > 2;
    }
  }
  scan.end = at;
  return scan;
}

// What an escape sequence of a string says. `bytes`: of the sequence, 12 for a surrogate pair; 0:
// it is none. Lone surrogates are none.
struct EscapeScan {
  uint32_t code_point = 0;
  int bytes = 0;
};

// The number that four hexadecimal digits write; negative where they are not.
inline int32_t read_four_hex(const char* at, const char* end) {
  if (end - at < 4) return -1;
  int32_t value = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(at[i]);
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

// REQUIRES: at < end, *at == '\\'.
inline EscapeScan scan_escape(const char* at, const char* end) {
  if (end - at < 2) return {};
  switch (at[1]) {
    case '"':
    case '\\':
    case '/':
      return {static_cast<uint8_t>(at[1]), 2};
    case 'b':
      return {'\b', 2};
    case 'f':
      return {'\f', 2};
    case 'n':
      return {'\n', 2};
    case 'r':
      return {'\r', 2};
    case 't':
      return {'\t', 2};
    case 'u':
      break;
    default:
      return {};
  }
  const int32_t unit = read_four_hex(at + 2, end);
  if (unit < 0) return {};
  if (unit < 0xD800 || unit > 0xDFFF) return {static_cast<uint32_t>(unit), 6};
  if (unit > 0xDBFF || !begins_with(at + 6, end, "\\u")) return {};
  const int32_t low = read_four_hex(at + 8, end);
  if (low < 0xDC00 || low > 0xDFFF) return {};
  return {
      0x10000u + (static_cast<uint32_t>(unit - 0xD800) << 10) + static_cast<uint32_t>(low - 0xDC00),
      12};
}

}  // namespace pelton
