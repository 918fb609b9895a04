#include "csrc/wire/python_text.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <vector>

#include "csrc/wire/number_text.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

constexpr size_t kShownCharactersMax = 60;

struct Range {
  uint32_t first, last;
};
// clang-format off
constexpr Range kUnprintable[] = {
#include "csrc/wire/unprintable.inc"
};
// clang-format on

bool is_printable(uint32_t code_point) {
  if (code_point < 0x80) return code_point >= 0x20 && code_point != 0x7F;
  const Range* const range =
      std::lower_bound(std::begin(kUnprintable), std::end(kUnprintable), code_point,
                       [](const Range& r, uint32_t wanted) { return r.last < wanted; });
  return range == std::end(kUnprintable) || code_point < range->first;
}

void append_hex(uint32_t value, int digits, std::string& out) {
  for (int i = digits - 1; i >= 0; --i) out += "0123456789abcdef"[value >> (4 * i) & 15];
}

void append_character(uint32_t code_point, std::string_view utf8, char quote, std::string& out) {
  if (code_point == static_cast<uint8_t>(quote) || code_point == '\\') {
    out += '\\';
    out += utf8;
  } else if (code_point == '\t') {
    out += "\\t";
  } else if (code_point == '\n') {
    out += "\\n";
  } else if (code_point == '\r') {
    out += "\\r";
  } else if (is_printable(code_point)) {
    out += utf8;
  } else if (code_point <= 0xFF) {
    append_hex(code_point, 2, out += "\\x");
  } else if (code_point <= 0xFFFF) {
    append_hex(code_point, 4, out += "\\u");
  } else {
    append_hex(code_point, 8, out += "\\U");
  }
}

// Bits of the number that the digits write, at most `bits_max`.
int64_t bit_length(std::string_view digits) {
  std::vector<uint32_t> words;  // little-endian
  for (const char digit : digits) {
    uint64_t carry = static_cast<uint64_t>(digit - '0');
    for (uint32_t& word : words) {
      carry += uint64_t{word} * 10;
      word = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    if (carry != 0) words.push_back(static_cast<uint32_t>(carry));
  }
  if (words.empty()) return 0;
  return static_cast<int64_t>(words.size() - 1) * 32 + std::bit_width(words.back());
}

}  // namespace

std::string python_repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  while (!text.empty()) {
    const CodePoint read = read_code_point(text);
    append_character(read.value, text.substr(0, read.bytes), quote, out);
    text.remove_prefix(read.bytes);
  }
  return out += quote;
}

std::string python_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  std::string text;
  append_f64(value, text);
  return text;
}

std::string python_int(std::string_view text) { return text == "-0" ? "0" : std::string(text); }

std::string shorten(std::string_view text) {
  if (count_code_points(text) <= kShownCharactersMax) return std::string(text);
  return std::string(first_code_points(text, kShownCharactersMax - 1)) + "…";
}

std::string describe_string(std::string_view text) {
  return "the string " + python_repr(shorten(first_code_points(text, kShownCharactersMax + 1)));
}

std::string describe_float(double value) { return "the number " + python_repr(value); }

std::string describe_integer(std::string_view text) {
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  const int64_t digit_count = bit_length(digits) * 301 / 1000;
  if (digit_count < 40) return "the number " + python_int(text);
  return "an integer of about " + std::to_string(digit_count) + " digits";
}

}  // namespace pelton
