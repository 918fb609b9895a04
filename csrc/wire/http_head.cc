#include "csrc/wire/http_head.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "csrc/wire/http_chars.h"

namespace pelton {
namespace {

using http::are_all;
using http::equals_lower;
using http::is_a;
using http::shown;
using http::trimmed;

constexpr std::string_view kLineEnd = "\r\n";

// Reads a head line by line, in order, and stops at the first thing that is wrong with it.
class HeadParser {
 public:
  HeadParser(std::string_view bytes, const HttpLimits& limits, HttpHead& head, ProblemPtr& problem)
      : bytes_(bytes), limits_(limits), head_(head), problem_(problem) {}

  HeadVerdict parse();

 private:
  enum class Line : uint8_t { kWhole, kNeedMore, kTooLong, kViolation };
  enum class Field : uint8_t { kUsed, kUnknown, kViolation };

  // Steps over the line at at_; its content has at most `bytes_max` bytes.
  Line next_line(int64_t bytes_max, std::string_view& line);

  HeadVerdict parse_request_line();
  bool read_request_line(std::string_view line);
  bool read_target();
  bool read_absolute_target(size_t scheme_bytes);

  HeadVerdict parse_fields();
  bool read_field(std::string_view line);
  // Knows a name whatever it is made of; one that it does not know is still to be checked.
  Field use_field(std::string_view name, std::string_view value);
  bool use_host(std::string_view value);
  bool use_content_length(std::string_view value);
  bool use_transfer_encoding(std::string_view value);
  Field use_connection(std::string_view value);
  bool use_expect(std::string_view value);
  Field use_upgrade();
  Field keep(std::optional<std::string_view>& field, std::string_view value);

  HeadVerdict finish();

  // Each makes the problem and returns false.
  bool violation(std::string what, std::string_view field = {}, std::string got = {});
  bool too_long(ProblemKind kind, std::string expected);
  bool fields_too_large();

  const std::string_view bytes_;
  const HttpLimits& limits_;
  HttpHead& head_;
  ProblemPtr& problem_;
  size_t at_ = 0;
  bool closes_ = false;
  bool keeps_alive_ = false;
  bool is_chunked_ = false;
  std::string_view unknown_coding_;
  std::optional<std::string_view> content_length_;
  std::optional<std::string_view> unknown_expectation_;
};

bool HeadParser::violation(std::string what, std::string_view field, std::string got) {
  problem_ = make_problem(ProblemKind::kInvalidInput, "the request is not HTTP/1.1: " + what);
  problem_->expected = "HTTP/1.1";
  if (!field.empty()) problem_->field = field;
  problem_->got = got.empty() ? std::move(what) : std::move(got);
  return false;
}

bool HeadParser::too_long(ProblemKind kind, std::string expected) {
  problem_ = make_problem(kind, "expected " + expected);
  problem_->expected = std::move(expected);
  return false;
}

bool HeadParser::fields_too_large() {
  return too_long(ProblemKind::kHeadersTooLarge,
                  "at most " + std::to_string(limits_.header_count_max) + " header fields of " +
                      std::to_string(limits_.header_bytes_max) + " bytes in all");
}

HeadParser::Line HeadParser::next_line(int64_t bytes_max, std::string_view& line) {
  const size_t content_max = static_cast<size_t>(std::max<int64_t>(bytes_max, 0));
  // As far as the end of the longest line may be: what lies behind it is not looked at before the
  // length is judged, or the verdict would depend on how much has come.
  const size_t reach = at_ + std::min(bytes_.size() - at_, content_max + 1);
  const size_t end = http::find_control(bytes_.data(), at_, reach);
  if (end == reach) return end - at_ > content_max ? Line::kTooLong : Line::kNeedMore;
  if (bytes_[end] != '\r') {
    violation(bytes_[end] == '\n' ? "a line ends with a bare LF" : "a control byte in the head", {},
              shown(bytes_.substr(end, 1)));
    return Line::kViolation;
  }
  if (end + 1 == bytes_.size()) return Line::kNeedMore;
  if (bytes_[end + 1] != '\n') {
    violation("a bare CR in the head", {}, shown(bytes_.substr(end, 2)));
    return Line::kViolation;
  }
  line = bytes_.substr(at_, end - at_);
  at_ = end + kLineEnd.size();
  return Line::kWhole;
}

HeadVerdict HeadParser::parse() {
  const HeadVerdict verdict = parse_request_line();
  return verdict == HeadVerdict::kComplete ? parse_fields() : verdict;
}

HeadVerdict HeadParser::parse_request_line() {
  if (bytes_.starts_with(kLineEnd)) at_ = kLineEnd.size();
  std::string_view line;
  switch (next_line(limits_.request_line_bytes_max, line)) {
    case Line::kNeedMore:
      return HeadVerdict::kNeedMore;
    case Line::kTooLong:
      too_long(
          ProblemKind::kUriTooLong,
          "a request line of at most " + std::to_string(limits_.request_line_bytes_max) + " bytes");
      return HeadVerdict::kViolation;
    case Line::kViolation:
      return HeadVerdict::kViolation;
    case Line::kWhole:
      break;
  }
  return read_request_line(line) && read_target() ? HeadVerdict::kComplete
                                                  : HeadVerdict::kViolation;
}

HttpMethod method_of(std::string_view text) {
  if (text == "POST") return HttpMethod::kPost;
  if (text == "GET") return HttpMethod::kGet;
  if (text == "HEAD") return HttpMethod::kHead;
  if (text == "OPTIONS") return HttpMethod::kOptions;
  return HttpMethod::kOther;
}

// method SP target SP version, with exactly those two spaces (RFC 9112, section 3).
bool HeadParser::read_request_line(std::string_view line) {
  size_t end = 0;
  while (end < line.size() && is_a(line[end], http::kTokenChar)) ++end;
  if (end == 0 || end == line.size() || line[end] != ' ') {
    return violation("no method at the front of the request line", {}, shown(line));
  }
  head_.method_text = line.substr(0, end);
  head_.method = method_of(head_.method_text);
  const size_t target = end + 1;
  end = target;
  while (end < line.size() && is_a(line[end], http::kTargetChar)) ++end;
  if (end == target || end == line.size() || line[end] != ' ') {
    return violation("a malformed target", {}, shown(line.substr(target)));
  }
  head_.target = line.substr(target, end - target);
  const std::string_view version = line.substr(end + 1);
  if (version == "HTTP/1.1") {
    head_.minor_version = 1;
  } else if (version == "HTTP/1.0") {
    head_.minor_version = 0;
  } else {
    return violation("its version is neither HTTP/1.1 nor HTTP/1.0", {}, shown(version));
  }
  return true;
}

// A host with an optional port (RFC 3986, section 3.2), without user information.
bool is_host(std::string_view text) {
  size_t end = 0;
  if (text.starts_with('[')) {
    end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    const auto is_address_char = [](char c) {
      return is_a(c, http::kHexChar) || c == ':' || c == '.';
    };
    const std::string_view address = text.substr(1, end - 1);
    if (!std::all_of(address.begin(), address.end(), is_address_char)) return false;
    ++end;
  } else {
    while (end < text.size() && is_a(text[end], http::kHostChar)) ++end;
    if (end == 0) return false;
  }
  if (end == text.size()) return true;
  const std::string_view port = text.substr(end + 1);
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return text[end] == ':' && port.size() <= 5 && std::all_of(port.begin(), port.end(), is_digit);
}

// The four forms of a target: RFC 9112, section 3.2.
bool HeadParser::read_target() {
  const std::string_view target = head_.target;
  if (std::ssize(target) > limits_.target_bytes_max) {
    return too_long(ProblemKind::kUriTooLong,
                    "a target of at most " + std::to_string(limits_.target_bytes_max) + " bytes");
  }
  if (head_.method_text == "CONNECT") {
    if (!is_host(target) || target.back() == ']' || target.find(':') == std::string_view::npos) {
      return violation("the target of CONNECT is no host and port", {}, shown(target));
    }
    problem_ = make_problem(ProblemKind::kNotImplemented, "CONNECT: no tunnels are offered");
    return false;
  }
  if (target.front() == '/') {
    const size_t query = target.find('?');
    head_.has_query = query != std::string_view::npos;
    head_.path = target.substr(0, query);
    return true;
  }
  if (target == "*" && head_.method == HttpMethod::kOptions) {
    head_.path = target;
    return true;
  }
  const size_t scheme_bytes = target.find("://");
  if (scheme_bytes != std::string_view::npos) {
    const std::string_view scheme = target.substr(0, scheme_bytes);
    if (equals_lower(scheme, "http") || equals_lower(scheme, "https")) {
      return read_absolute_target(scheme_bytes + 3);
    }
  }
  return violation("the target is no path", {}, shown(target));
}

bool HeadParser::read_absolute_target(size_t scheme_bytes) {
  const std::string_view rest = head_.target.substr(scheme_bytes);
  const size_t end = std::min(rest.find_first_of("/?"), rest.size());
  if (!is_host(rest.substr(0, end))) {
    return violation("the target names no host", {}, shown(head_.target));
  }
  const std::string_view path = rest.substr(end);
  const size_t query = path.find('?');
  head_.has_query = query != std::string_view::npos;
  head_.path = path.substr(0, query);
  return true;
}

HeadVerdict HeadParser::parse_fields() {
  const size_t begin = at_;
  int count = 0;
  for (;;) {
    std::string_view line;
    switch (next_line(limits_.header_bytes_max - static_cast<int64_t>(at_ - begin), line)) {
      case Line::kNeedMore:
        return HeadVerdict::kNeedMore;
      case Line::kTooLong:
        fields_too_large();
        return HeadVerdict::kViolation;
      case Line::kViolation:
        return HeadVerdict::kViolation;
      case Line::kWhole:
        break;
    }
    if (line.empty()) return finish();
    if (++count > limits_.header_count_max) {
      fields_too_large();
      return HeadVerdict::kViolation;
    }
    if (!read_field(line)) return HeadVerdict::kViolation;
  }
}

bool HeadParser::read_field(std::string_view line) {
  const size_t colon = http::find_char(line, ':');
  const std::string_view name = line.substr(0, colon);
  if (colon < line.size()) {
    const std::string_view value = trimmed(line.substr(colon + 1));
    switch (use_field(name, value)) {
      case Field::kUsed:
        return true;
      case Field::kViolation:
        return false;
      case Field::kUnknown:
        if (!name.empty() && are_all(name, http::kTokenChar)) return true;
    }
  }
  if (line.front() == ' ' || line.front() == '\t') {
    return violation("a folded field line", {}, shown(line));
  }
  if (colon < line.size() && name.find_first_of(" \t") != std::string_view::npos) {
    return violation("a space in or behind a field's name", {}, shown(line));
  }
  return violation("a line that is no field", {}, shown(line));
}

// By length first: most fields are known after one comparison, and unknown ones after none.
HeadParser::Field HeadParser::use_field(std::string_view name, std::string_view value) {
  const auto is = [name](std::string_view lower) { return equals_lower(name, lower); };
  const auto outcome = [](bool used) { return used ? Field::kUsed : Field::kViolation; };
  switch (name.size()) {
    case 4:
      if (is("host")) return outcome(use_host(value));
      break;
    case 6:
      if (is("accept")) return keep(head_.accept, value);
      if (is("expect")) return outcome(use_expect(value));
      if (is("origin")) return keep(head_.origin, value);
      break;
    case 7:
      if (is("upgrade")) return use_upgrade();
      break;
    case 10:
      if (is("connection")) return use_connection(value);
      break;
    case 11:
      if (is("traceparent")) return keep(head_.traceparent, value);
      break;
    case 12:
      if (is("content-type")) return keep(head_.content_type, value);
      if (is("x-request-id")) return keep(head_.request_id, value);
      break;
    case 13:
      if (is("authorization")) return keep(head_.authorization, value);
      break;
    case 14:
      if (is("content-length")) return outcome(use_content_length(value));
      break;
    case 15:
      if (is("accept-encoding")) return keep(head_.accept_encoding, value);
      break;
    case 16:
      if (is("content-encoding")) return keep(head_.content_encoding, value);
      break;
    case 17:
      if (is("transfer-encoding")) return outcome(use_transfer_encoding(value));
      break;
    case 18:
      if (is("pelton-deadline-ms")) return keep(head_.deadline_ms, value);
      break;
    case 31:
      if (is("inference-header-content-length")) {
        return keep(head_.inference_header_content_length, value);
      }
      break;
    default:
      break;
  }
  return Field::kUnknown;
}

HeadParser::Field HeadParser::keep(std::optional<std::string_view>& field, std::string_view value) {
  if (field.has_value()) {
    head_.has_repeated_field = true;
  } else {
    field = value;
  }
  return Field::kUsed;
}

// Empty is legal: what a client sends whose target has no authority (RFC 9112, section 3.2).
bool HeadParser::use_host(std::string_view value) {
  if (head_.host.has_value()) return violation("two Host fields", "Host");
  if (!value.empty() && !is_host(value)) {
    return violation("a malformed Host", "Host", shown(value));
  }
  head_.host = value;
  return true;
}

bool HeadParser::use_content_length(std::string_view value) {
  constexpr std::string_view kName = "Content-Length";
  if (content_length_.has_value()) return violation("two Content-Length fields", kName);
  content_length_ = value;
  // As many digits as the largest int64 has; from_chars alone would take a minus sign.
  if (value.empty() || value.size() > 19 || value.front() == '-') {
    return violation("a malformed Content-Length", kName, shown(value));
  }
  const char* const end = value.data() + value.size();
  const auto [stop, error] = std::from_chars(value.data(), end, head_.content_length);
  if (error != std::errc() || stop != end) {
    return violation("a malformed Content-Length", kName, shown(value));
  }
  head_.framing = HttpFraming::kLength;
  return true;
}

// The elements of a list (RFC 9110, section 5.6.1), trimmed; empty ones too.
template <typename Use>
bool for_each_element(std::string_view list, const Use& use) {
  for (;;) {
    const size_t comma = list.find(',');
    if (!use(trimmed(list.substr(0, comma)))) return false;
    if (comma == std::string_view::npos) return true;
    list.remove_prefix(comma + 1);
  }
}

// Several fields are one list. Only `chunked`, once and last, is read (RFC 9112, section 6.1).
bool HeadParser::use_transfer_encoding(std::string_view value) {
  constexpr std::string_view kName = "Transfer-Encoding";
  if (head_.minor_version == 0) return violation("Transfer-Encoding in HTTP/1.0", kName);
  return for_each_element(value, [&](std::string_view element) {
    const std::string_view coding = trimmed(element.substr(0, element.find(';')));
    if (coding.empty() || !are_all(coding, http::kTokenChar)) {
      return violation("a malformed Transfer-Encoding", kName, shown(value));
    }
    if (is_chunked_) return violation("chunked is not the last coding", kName, shown(value));
    if (!equals_lower(coding, "chunked")) {
      if (unknown_coding_.empty()) unknown_coding_ = coding;
      return true;
    }
    if (coding.size() != element.size()) {
      return violation("parameters of the coding chunked", kName, shown(value));
    }
    is_chunked_ = true;
    return true;
  });
}

HeadParser::Field HeadParser::use_connection(std::string_view value) {
  for_each_element(value, [&](std::string_view option) {
    closes_ |= equals_lower(option, "close");
    keeps_alive_ |= equals_lower(option, "keep-alive");
    head_.has_upgrade |= equals_lower(option, "upgrade");
    return true;
  });
  return Field::kUsed;
}

HeadParser::Field HeadParser::use_upgrade() {
  head_.has_upgrade = true;
  return Field::kUsed;
}

bool HeadParser::use_expect(std::string_view value) {
  if (equals_lower(value, "100-continue")) {
    head_.expects_continue = true;
  } else {
    unknown_expectation_ = value;
  }
  return true;
}

// What can only be judged when all fields are known.
HeadVerdict HeadParser::finish() {
  if (head_.minor_version == 1 && !head_.host.has_value()) {
    violation("no Host field", "Host");
    return HeadVerdict::kViolation;
  }
  const bool has_coding = is_chunked_ || !unknown_coding_.empty();
  if (has_coding && content_length_.has_value()) {
    violation("both Transfer-Encoding and Content-Length", "Transfer-Encoding");
    return HeadVerdict::kViolation;
  }
  if (!unknown_coding_.empty()) {
    problem_ = make_problem(ProblemKind::kNotImplemented, "a transfer coding other than chunked");
    problem_->field = "Transfer-Encoding";
    problem_->expected = "chunked";
    problem_->got = shown(unknown_coding_);
    return HeadVerdict::kViolation;
  }
  if (unknown_expectation_.has_value()) {
    problem_ = make_problem(ProblemKind::kExpectationFailed, "an unknown expectation");
    problem_->field = "Expect";
    problem_->expected = "100-continue";
    problem_->got = shown(*unknown_expectation_);
    return HeadVerdict::kViolation;
  }
  if (is_chunked_) head_.framing = HttpFraming::kChunked;
  // A client of HTTP/1.0 does not wait for 100 (RFC 9110, section 10.1.1).
  if (head_.minor_version == 0) head_.expects_continue = false;
  head_.keep_alive = !closes_ && (head_.minor_version == 1 || keeps_alive_);
  head_.head_bytes = at_;
  return HeadVerdict::kComplete;
}

// Whether a head of which no further line has ended is still within its limits. May say no a byte
// too early, which only costs a parse.
bool is_within_limits(std::string_view bytes, const HttpLimits& limits) {
  const size_t begin = bytes.starts_with(kLineEnd) ? kLineEnd.size() : 0;
  const auto line_max = static_cast<size_t>(limits.request_line_bytes_max);
  const std::string_view first = bytes.substr(begin, line_max + kLineEnd.size());
  const size_t end = first.find('\n');
  if (end == std::string_view::npos) return first.size() <= line_max;
  const size_t field_bytes = bytes.size() - begin - end - 1;
  return field_bytes <= static_cast<size_t>(limits.header_bytes_max);
}

}  // namespace

HeadVerdict parse_http_head(std::string_view bytes, const HttpLimits& limits, size_t& scanned,
                            HttpHead& head, ProblemPtr& problem) {
  if (scanned > 0) {
    const size_t end = http::find_control(bytes.data(), scanned, bytes.size());
    const bool is_in_line = end == bytes.size() || (end + 1 == bytes.size() && bytes[end] == '\r');
    if (is_in_line && is_within_limits(bytes, limits)) {
      scanned = end;
      return HeadVerdict::kNeedMore;
    }
  }
  head = HttpHead();
  const HeadVerdict verdict = HeadParser(bytes, limits, head, problem).parse();
  if (verdict == HeadVerdict::kNeedMore) {
    // A CR at the end is looked at again with what follows it.
    scanned = bytes.size() - (bytes.ends_with('\r') ? 1 : 0);
  }
  return verdict;
}

}  // namespace pelton
