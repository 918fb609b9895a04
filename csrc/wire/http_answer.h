// The head of an answer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pelton {

struct AnswerHead {
  int status = 200;
  std::string_view content_type = {};   // empty: none
  int64_t content_length = 0;           // left out of answers that have none: 1xx and 204
  int64_t json_bytes = -1;              // Inference-Header-Content-Length; negative: none
  std::string_view request_id = {};     // X-Request-Id; empty: none
  std::string_view common_fields = {};  // whole lines with CRLF: Date, Server
  std::string_view more_fields = {};    // whole lines with CRLF
  bool close = false;                   // Connection: close
};

// Appends status line, fields (names in lower case) and the empty line. Allocates only where `out`
// has to grow. REQUIRES: no value holds CR, LF or NUL (is_request_id, static media types); a status
// of three digits.
void append_answer_head(const AnswerHead& head, std::string& out);

// The reason phrase of a status (RFC 9110); empty for those it does not name.
std::string_view reason_phrase(int status);

// A UUID of version 7 (RFC 9562, section 5.7) in 36 characters: milliseconds since the epoch, then
// random bits: the low 16 of `random_high` and all of `random_low`, less the six that the format
// fixes.
void append_uuid7(int64_t unix_ms, uint64_t random_high, uint64_t random_low, std::string& out);
// Whether a caller's X-Request-Id is fit to be echoed and logged: 1 to 128 visible ASCII.
bool is_request_id(std::string_view text);

}  // namespace pelton
