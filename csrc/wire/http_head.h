// The head of an HTTP/1.1 request: a strict subset of RFC 9112, judged whole.
//
// What the parser takes is unambiguous: two parsers can never disagree about it. What violates HTTP
// is refused here; nothing that is refused is ever shown to another parser.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "csrc/base/problem.h"

namespace pelton {

struct HttpLimits {
  int64_t request_line_bytes_max = 8 << 10;
  int64_t target_bytes_max = 4 << 10;
  int64_t header_bytes_max = 32 << 10;  // of all field lines, their ends included
  int header_count_max = 100;
};

enum class HttpMethod : uint8_t { kGet, kHead, kPost, kOptions, kOther };
enum class HttpFraming : uint8_t { kNone, kLength, kChunked };

// Views into the bytes that were parsed. Field values are trimmed; a field that must come once and
// comes twice is a violation; the other known ones hold the first value, and `has_repeated_field`
// says that one of them came twice (lists that are read here, such as Connection, do not count).
struct HttpHead {
  size_t head_bytes = 0;  // the empty line included, and empty lines before the request line
  HttpMethod method = HttpMethod::kOther;
  std::string_view method_text;
  std::string_view target;  // as it came
  // Of the target, in origin form or absolute form, without the query; "*" of OPTIONS *. Empty for
  // an absolute form without a path.
  std::string_view path;
  bool has_query = false;
  int minor_version = 1;  // HTTP/1.0 or HTTP/1.1
  HttpFraming framing = HttpFraming::kNone;
  int64_t content_length = 0;  // kLength
  bool keep_alive = true;      // by version and Connection
  bool has_upgrade = false;    // Connection: upgrade, or an Upgrade field
  bool expects_continue = false;
  bool has_repeated_field = false;
  std::optional<std::string_view> host, content_type, content_encoding, accept, accept_encoding,
      inference_header_content_length, request_id, deadline_ms, authorization, origin, traceparent;
};

enum class HeadVerdict : uint8_t { kNeedMore, kComplete, kViolation };

// Parses the head at the front of `bytes`. `scanned` is how many bytes an earlier call that
// answered kNeedMore has looked at (0 at first; updated), so that a head that comes byte by byte
// costs linear time: it is parsed anew only when a line has ended. Bytes of one head give one
// verdict, however they are cut into calls: what comes first in them decides, as soon as it is
// there. On kViolation `problem` says why: 400, 414, 431 (the last two also before the head is
// complete), 417 for an unknown Expect, 501 for an unknown transfer coding. The connection must be
// answered and closed. `head` has a meaning on kComplete only.
// REQUIRES: `bytes` begins with what it began with when `scanned` was set.
HeadVerdict parse_http_head(std::string_view bytes, const HttpLimits& limits, size_t& scanned,
                            HttpHead& head, ProblemPtr& problem);

// What a path asks for. Names are percent-decoded once and checked: no '/', '\', NUL, control
// bytes, '.' or '..', at most 255 bytes, UTF-8.
enum class RouteKind : uint8_t { kInfer, kEmbeddings, kOther };
struct Route {
  RouteKind kind = RouteKind::kOther;
  std::string_view model;    // kInfer
  std::string_view version;  // kInfer; empty: none
};
// kOther is everything but a POST with no query to one of the two paths. `decoded` holds the names
// where one had to be decoded; it must outlive the route. A name that fails its check makes the
// problem kModelNotFound, of kind kInfer only.
ProblemPtr match_route(const HttpHead& head, std::string& decoded, Route& route);

}  // namespace pelton
