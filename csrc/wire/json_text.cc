#include "csrc/wire/json_text.h"

#include <cstdint>

#include "csrc/wire/swar.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

// The end of the characters from `at` on that need no escape.
const char* plain_end(const char* at, const char* end, bool is_ascii_only) {
  while (end - at >= 8) {
    const uint64_t word = load_word(at);
    uint64_t mask = match_byte(word, '"') | match_byte(word, '\\') | match_control(word);
    if (is_ascii_only) mask |= match_byte(word, '\x7f') | (word & kHighBits);
    if (mask != 0) return at + first_byte(mask);
    at += 8;
  }
  for (; at < end; ++at) {
    const auto byte = static_cast<uint8_t>(*at);
    if (byte < 0x20 || byte == '"' || byte == '\\' || (is_ascii_only && byte >= 0x7f)) break;
  }
  return at;
}

void append_unicode_escape(uint32_t unit, std::string& out) {
  constexpr char kDigits[] = "0123456789abcdef";
  const char escape[] = {'\\',
                         'u',
                         kDigits[unit >> 12 & 15],
                         kDigits[unit >> 8 & 15],
                         kDigits[unit >> 4 & 15],
                         kDigits[unit & 15]};
  out.append(escape, sizeof(escape));
}

void append_ascii_escape(char c, std::string& out) {
  switch (c) {
    case '"':
      out += "\\\"";
      break;
    case '\\':
      out += "\\\\";
      break;
    case '\b':
      out += "\\b";
      break;
    case '\f':
      out += "\\f";
      break;
    case '\n':
      out += "\\n";
      break;
    case '\r':
      out += "\\r";
      break;
    case '\t':
      out += "\\t";
      break;
    default:
      append_unicode_escape(static_cast<uint8_t>(c), out);
  }
}

void append_code_point(uint32_t code_point, std::string& out) {
  if (code_point >= 0x10000) {
    append_unicode_escape(0xD800 + ((code_point - 0x10000) >> 10), out);
    append_unicode_escape(0xDC00 + ((code_point - 0x10000) & 0x3FF), out);
  } else {
    append_unicode_escape(code_point, out);
  }
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    const char* const plain = plain_end(at, end, false);
    out.append(at, plain);
    if (plain == end) break;
    append_ascii_escape(*plain, out);
    at = plain + 1;
  }
  out += '"';
}

void append_json_string_ascii(std::string_view text, std::string& out) {
  out += '"';
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    const char* const plain = plain_end(at, end, true);
    out.append(at, plain);
    if (plain == end) break;
    if (static_cast<uint8_t>(*plain) < 0x80) {
      append_ascii_escape(*plain, out);
      at = plain + 1;
      continue;
    }
    const CodePoint read = read_code_point({plain, static_cast<size_t>(end - plain)});
    append_code_point(read.value, out);
    at = plain + read.bytes;
  }
  out += '"';
}

bool is_utf8(std::string_view text, size_t* bad_offset) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    if (end - at >= 8 && (load_word(at) & kHighBits) == 0) {
      at += 8;
      continue;
    }
    const CodePoint read = read_code_point({at, static_cast<size_t>(end - at)});
    if (!read.is_valid) {
      if (bad_offset != nullptr) *bad_offset = static_cast<size_t>(at - text.data());
      return false;
    }
    at += read.bytes;
  }
  return true;
}

}  // namespace pelton
