// Characters of HTTP/1.1 (RFC 9110, section 5.6; RFC 9112). Internal to the HTTP sources of
// csrc/wire.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "csrc/wire/swar.h"

namespace pelton::http {

inline constexpr uint8_t kTokenChar = 1;  // of method and field names
inline constexpr uint8_t kTargetChar =
    2;                                   // visible ASCII but '#', which begins no part of a target
inline constexpr uint8_t kHostChar = 4;  // of a name or IPv4 address (RFC 3986, section 3.2.2)
inline constexpr uint8_t kHexChar = 8;

inline constexpr std::array<uint8_t, 256> kCharClasses = [] {
  std::array<uint8_t, 256> classes{};
  const auto add = [&](std::string_view characters, uint8_t flags) {
    for (const char c : characters) classes[static_cast<uint8_t>(c)] |= flags;
  };
  for (uint8_t c = 0x21; c <= 0x7e; ++c) classes[c] |= kTargetChar;
  classes['#'] = 0;
  add("0123456789", kTokenChar | kHostChar | kHexChar);
  add("abcdefABCDEF", kHexChar);
  add("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", kTokenChar | kHostChar);
  add("!#$%&'*+-.^_`|~", kTokenChar);
  // RFC 3986's, without the comma: two hosts in one value are no host.
  add("-._~%!$&'()*+;=", kHostChar);
  return classes;
}();

inline bool is_a(char c, uint8_t flags) {
  return (kCharClasses[static_cast<uint8_t>(c)] & flags) != 0;
}
inline bool are_all(std::string_view text, uint8_t flags) {
  for (const char c : text) {
    if (!is_a(c, flags)) return false;
  }
  return true;
}
// What a field value may not hold: controls but the tab.
inline bool is_control(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte < 0x20 && byte != '\t') || byte == 0x7f;
}

// Where the first control byte of text[begin, end) is, the tab excepted; `end` without one. Eight
// bytes at a time.
inline size_t find_control(const char* text, size_t begin, size_t end) {
  size_t at = begin;
  while (end - at >= 8) {
    const uint64_t word = load_word(text + at);
    const uint64_t found = match_control(word) | match_byte(word, '\x7f');
    if (found == 0) {
      at += 8;
      continue;
    }
    at += static_cast<size_t>(first_byte(found));
    if (text[at] != '\t') return at;
    ++at;
  }
  while (at < end && !is_control(text[at])) ++at;
  return at;
}

// Where the first `wanted` of `text` is; its size without one. For short texts: a call of memchr
// costs more than it saves.
inline size_t find_char(std::string_view text, char wanted) {
  size_t at = 0;
  for (; text.size() - at >= 8; at += 8) {
    const uint64_t found = match_byte(load_word(text.data() + at), wanted);
    if (found != 0) return at + static_cast<size_t>(first_byte(found));
  }
  while (at < text.size() && text[at] != wanted) ++at;
  return at;
}

// Whether `text` is `lower`, in whatever case. REQUIRES: `lower` is made of lower-case letters,
// digits and '-'; `text` holds no control bytes. Setting this bit then makes a letter only of a
// letter, and a digit or '-' only of itself.
inline bool equals_lower(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  size_t at = 0;
  for (; lower.size() - at >= 8; at += 8) {
    if ((load_word(text.data() + at) | kEachByte * 0x20) != load_word(lower.data() + at)) {
      return false;
    }
  }
  for (; at < lower.size(); ++at) {
    if ((text[at] | 0x20) != lower[at]) return false;
  }
  return true;
}

inline std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// Bytes of a request as an error may show them: visible ASCII, at most 64 bytes of them.

std::string shown(std::string_view bytes);

}  // namespace pelton::http
