#include "csrc/wire/http_answer.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace pelton {
namespace {

struct Reason {
  int status;
  std::string_view phrase;
};

// RFC 9110, section 15, and 428, 429, 431, 511 of RFC 6585. Sorted.
constexpr std::array kReasons = {
    Reason{100, "Continue"},
    Reason{101, "Switching Protocols"},
    Reason{200, "OK"},
    Reason{201, "Created"},
    Reason{202, "Accepted"},
    Reason{203, "Non-Authoritative Information"},
    Reason{204, "No Content"},
    Reason{205, "Reset Content"},
    Reason{206, "Partial Content"},
    Reason{300, "Multiple Choices"},
    Reason{301, "Moved Permanently"},
    Reason{302, "Found"},
    Reason{303, "See Other"},
    Reason{304, "Not Modified"},
    Reason{305, "Use Proxy"},
    Reason{307, "Temporary Redirect"},
    Reason{308, "Permanent Redirect"},
    Reason{400, "Bad Request"},
    Reason{401, "Unauthorized"},
    Reason{402, "Payment Required"},
    Reason{403, "Forbidden"},
    Reason{404, "Not Found"},
    Reason{405, "Method Not Allowed"},
    Reason{406, "Not Acceptable"},
    Reason{407, "Proxy Authentication Required"},
    Reason{408, "Request Timeout"},
    Reason{409, "Conflict"},
    Reason{410, "Gone"},
    Reason{411, "Length Required"},
    Reason{412, "Precondition Failed"},
    Reason{413, "Content Too Large"},
    Reason{414, "URI Too Long"},
    Reason{415, "Unsupported Media Type"},
    Reason{416, "Range Not Satisfiable"},
    Reason{417, "Expectation Failed"},
    Reason{421, "Misdirected Request"},
    Reason{422, "Unprocessable Content"},
    Reason{426, "Upgrade Required"},
    Reason{428, "Precondition Required"},
    Reason{429, "Too Many Requests"},
    Reason{431, "Request Header Fields Too Large"},
    Reason{500, "Internal Server Error"},
    Reason{501, "Not Implemented"},
    Reason{502, "Bad Gateway"},
    Reason{503, "Service Unavailable"},
    Reason{504, "Gateway Timeout"},
    Reason{505, "HTTP Version Not Supported"},
    Reason{511, "Network Authentication Required"},
};
static_assert(std::ranges::is_sorted(kReasons, {}, &Reason::status));

void append_number(int64_t value, std::string& out) {
  std::array<char, 20> digits;
  const auto [end, error] = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out.append(digits.data(), end);
}

void append_field(std::string_view name_and_colon, std::string_view value, std::string& out) {
  out.append(name_and_colon).append(value).append("\r\n");
}

// 16 digits.
void append_hex(uint64_t value, std::array<char, 32>& digits, size_t at) {
  for (size_t i = 16; i-- > 0; value >>= 4) digits[at + i] = "0123456789abcdef"[value & 15];
}

}  // namespace

std::string_view reason_phrase(int status) {
  const auto* const found = std::ranges::lower_bound(kReasons, status, {}, &Reason::status);
  return found != kReasons.end() && found->status == status ? found->phrase : std::string_view();
}

void append_answer_head(const AnswerHead& head, std::string& out) {
  if (head.status == 200) {
    out += "HTTP/1.1 200 OK\r\n";
  } else {
    out += "HTTP/1.1 ";
    append_number(head.status, out);
    out += ' ';  // stands in front of an empty phrase too (RFC 9112, section 4)
    append_field({}, reason_phrase(head.status), out);
  }
  out += head.common_fields;
  if (!head.content_type.empty()) append_field("content-type: ", head.content_type, out);
  if (head.status >= 200 && head.status != 204) {
    out += "content-length: ";
    append_number(head.content_length, out);
    out += "\r\n";
  }
  if (head.json_bytes >= 0) {
    out += "inference-header-content-length: ";
    append_number(head.json_bytes, out);
    out += "\r\n";
  }
  if (!head.request_id.empty()) append_field("x-request-id: ", head.request_id, out);
  out += head.more_fields;
  if (head.close) out += "connection: close\r\n";
  out += "\r\n";
}

void append_uuid7(int64_t unix_ms, uint64_t random_high, uint64_t random_low, std::string& out) {
  constexpr uint64_t kVersion = 7;
  constexpr uint64_t kVariant = 2;
  const uint64_t high =
      static_cast<uint64_t>(unix_ms) << 16 | kVersion << 12 | (random_high & 0xfff);
  const uint64_t low = kVariant << 62 | (random_low & ~(uint64_t{3} << 62));
  std::array<char, 32> digits;
  append_hex(high, digits, 0);
  append_hex(low, digits, 16);
  const std::string_view text(digits.data(), digits.size());
  out.append(text.substr(0, 8)).append("-").append(text.substr(8, 4)).append("-");
  out.append(text.substr(12, 4)).append("-").append(text.substr(16, 4)).append("-");
  out.append(text.substr(20));
}

bool is_request_id(std::string_view text) {
  constexpr size_t kBytesMax = 128;
  return !text.empty() && text.size() <= kBytesMax &&
         std::ranges::all_of(text, [](char c) { return c >= '!' && c <= '~'; });
}

}  // namespace pelton
