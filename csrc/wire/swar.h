// Eight bytes at a time in a 64-bit word: the scans that every reader of text here is made of.
// Source of the tricks: "Bit Twiddling Hacks" (Anderson, zero byte in a word); Lemire, "Number
// Parsing at a Gigabyte per Second" (2021), eight digits at once.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace pelton {

static_assert(std::endian::native == std::endian::little);

inline constexpr uint64_t kEachByte = 0x0101010101010101;
inline constexpr uint64_t kHighBits = 0x8080808080808080;

// REQUIRES: eight readable bytes.
inline uint64_t load_word(const char* at) {
  uint64_t word;
  std::memcpy(&word, at, sizeof(word));
  return word;
}

// Of a mask whose lowest set bit belongs to the first match.
inline int first_byte(uint64_t mask) { return std::countr_zero(mask) / 8; }

// Masks: exact up to the first match, arbitrary above it; 0 when there is none.
inline uint64_t match_byte(uint64_t word, char byte) {
  const uint64_t difference = word ^ (kEachByte * static_cast<uint8_t>(byte));
  return (difference - kEachByte) & ~difference & kHighBits;
}
inline uint64_t match_control(uint64_t word) {
  return (word - kEachByte * 0x20) & ~word & kHighBits;
}
inline uint64_t match_non_digit(uint64_t word) {
  const uint64_t digits = word ^ (kEachByte * '0');
  return (digits | (digits + kEachByte * 0x76)) & kHighBits;
}

inline bool is_digit(char c) { return static_cast<uint8_t>(c - '0') < 10; }

// The end of the digits that begin at `at`.
inline const char* skip_digits(const char* at, const char* end) {
  while (end - at >= 8) {
    const uint64_t mask = match_non_digit(load_word(at));
    if (mask != 0) return at + first_byte(mask);
    at += 8;
  }
  while (at < end && is_digit(*at)) ++at;
  return at;
}

// The number that eight digits write. REQUIRES: each byte is a digit.
inline uint64_t read_eight_digits(uint64_t word) {
  word -= kEachByte * '0';
  word = word * 10 + (word >> 8);
  constexpr uint64_t kMask = 0x000000FF000000FF;
  constexpr uint64_t kHundreds = 100 + (uint64_t{1000000} << 32);
  constexpr uint64_t kOnes = 1 + (uint64_t{10000} << 32);
  return ((word & kMask) * kHundreds + ((word >> 16) & kMask) * kOnes) >> 32;
}

inline bool is_json_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

inline const char* skip_json_space(const char* at, const char* end) {
  while (at < end && is_json_space(*at)) ++at;
  return at;
}

// The value of a hexadecimal digit, or -1.
inline int hex_value(char c) {
  if (is_digit(c)) return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace pelton
