#include "csrc/wire/error_body.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "csrc/wire/json_text.h"
#include "csrc/wire/media_types.h"
#include "csrc/wire/msgpack_writer.h"

namespace pelton {
namespace {

constexpr std::string_view kInternalText = "the server failed; its log names this request id";
constexpr int64_t kRetryAfterMsDefault = 1000;

// A problem of this kind is a defect: its message and details may hold internals.
bool is_hidden(const Problem& problem) { return problem.kind == ProblemKind::kInternal; }

std::string_view shown_message(const Problem& problem) {
  return is_hidden(problem) ? kInternalText : std::string_view(problem.message);
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string decode_percent(std::string_view text) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      const int high = hex_digit(text[i + 1]);
      const int low = hex_digit(text[i + 2]);
      if (high >= 0 && low >= 0) {
        decoded += static_cast<char>(high << 4 | low);
        i += 2;
        continue;
      }
    }
    decoded += text[i];
  }
  return decoded;
}

// Bytes of what begins `text` like a sequence of UTF-8 and stops being one: what Python, and the
// Unicode standard, replace by one U+FFFD. REQUIRES: it begins with no whole sequence.
size_t broken_bytes(std::string_view text) {
  const auto byte = [text](size_t index) { return static_cast<uint8_t>(text[index]); };
  const uint8_t first = byte(0);
  const size_t whole = first >= 0xC2 && first <= 0xDF   ? 2
                       : first >= 0xE0 && first <= 0xEF ? 3
                       : first >= 0xF0 && first <= 0xF4 ? 4
                                                        : 1;
  uint8_t low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  uint8_t high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  size_t size = 1;
  while (size < whole && size < text.size() && byte(size) >= low && byte(size) <= high) {
    ++size;
    low = 0x80;
    high = 0xBF;
  }
  return size;
}

void append_replacing(std::string_view text, std::string& out) {
  size_t good = 0;
  while (!is_utf8(text, &good)) {
    out += text.substr(0, good);
    out += "\xEF\xBF\xBD";
    text.remove_prefix(good + broken_bytes(text.substr(good)));
  }
  out += text;
}

// A path with its escapes decoded, as urllib.parse.unquote() does, with which uvicorn makes the
// path that Python code sees.
std::string unquote(std::string_view path) {
  std::string decoded;
  while (!path.empty()) {
    const auto is_ascii = [](char c) { return static_cast<uint8_t>(c) < 0x80; };
    const auto ascii_end = std::find_if_not(path.begin(), path.end(), is_ascii);
    const auto size = static_cast<size_t>(ascii_end - path.begin());
    append_replacing(decode_percent(path.substr(0, size)), decoded);
    path.remove_prefix(size);
    const auto rest_end = std::find_if(path.begin(), path.end(), is_ascii);
    decoded += path.substr(0, static_cast<size_t>(rest_end - path.begin()));
    path.remove_prefix(static_cast<size_t>(rest_end - path.begin()));
  }
  return decoded;
}

// The media type of a problem document: problem+json only for clients that name it, msgpack for
// those that speak it, else plain JSON, which every client of the protocol reads.
std::string_view document_type(const ErrorContext& context) {
  const Accept accept(context.accept);
  if (accept.names(kProblemType)) return kProblemType;
  if (accept.names(kJsonType)) return kJsonType;
  for (const std::string_view type : {kMsgpackType, kVendorMsgpackType}) {
    if (accept.names(type)) return type;
  }
  if (!context.inference_header_content_length && context.content_type) {
    const std::string_view sent = media_type_of(*context.content_type);
    for (const std::string_view type : {kMsgpackType, kVendorMsgpackType}) {
      if (equals_ignoring_case(sent, type) && accept.weight(type) > 0.0) return type;
    }
  }
  return kJsonType;
}

// Members of a JSON object, as json.dumps() writes them: escaped to ASCII, since that alone carries
// what is not UTF-8.
class JsonMembers {
 public:
  explicit JsonMembers(std::string& out) : out_(out) { out_ += '{'; }
  void text(std::string_view name, std::string_view value) {
    begin(name);
    append_json_string_ascii(value, out_);
  }
  void number(std::string_view name, int64_t value) {
    begin(name);
    out_ += std::to_string(value);
  }
  void null(std::string_view name) {
    begin(name);
    out_ += "null";
  }
  void end() { out_ += '}'; }

 private:
  void begin(std::string_view name) {
    out_ += is_first_ ? "\"" : ", \"";
    out_ += name;
    out_ += "\": ";
    is_first_ = false;
  }

  std::string& out_;
  bool is_first_ = true;
};

class MsgpackMembers {
 public:
  MsgpackMembers(size_t entries, std::string& out) : out_(out) { append_msg_map(entries, out_); }
  void text(std::string_view name, std::string_view value) {
    append_msg_str(name, out_);
    if (is_utf8(value)) return append_msg_str(value, out_);
    std::string replaced;
    size_t good = 0;
    while (!is_utf8(value, &good)) {
      replaced += value.substr(0, good);
      const size_t broken = broken_bytes(value.substr(good));
      replaced.append(broken, '?');
      value.remove_prefix(good + broken);
    }
    replaced += value;
    append_msg_str(replaced, out_);
  }
  void number(std::string_view name, int64_t value) {
    append_msg_str(name, out_);
    append_msg_int(value, out_);
  }

 private:
  std::string& out_;
};

// The details that are given, in the order of pelton.errors.
template <typename Members>
void write_details(const Problem& problem, Members& members) {
  if (is_hidden(problem)) return;
  const auto text = [&members](std::string_view name, const std::optional<std::string>& value) {
    if (value) members.text(name, *value);
  };
  const auto number = [&members](std::string_view name, std::optional<int64_t> value) {
    if (value) members.number(name, *value);
  };
  text("tensor", problem.tensor);
  text("field", problem.field);
  text("expected", problem.expected);
  text("got", problem.got);
  number("offset", problem.offset);
  text("model", problem.model);
  text("version", problem.version);
  number("retry_after_ms", problem.retry_after_ms);
}

struct DetailCount {
  size_t count = 0;
  void text(std::string_view, std::string_view) { ++count; }
  void number(std::string_view, int64_t) { ++count; }
};

constexpr size_t kDocumentEntries = 8;

template <typename Members>
void write_document(const Problem& problem, const ErrorContext& context, Members& members) {
  const ProblemStatus& status = problem_status(problem.kind);
  const std::string_view message = shown_message(problem);
  members.text("error", message);
  members.text("type", "urn:pelton:error:" + std::string(status.code));
  members.text("title", status.title);
  members.number("status", status.http);
  members.text("detail", message);
  members.text("instance", unquote(context.path));
  members.text("code", status.code);
  members.text("request_id", context.request_id);
  write_details(problem, members);
}

std::string_view encode_document(const Problem& problem, const ErrorContext& context,
                                 std::string& out) {
  const std::string_view type = document_type(context);
  if (type == kJsonType || type == kProblemType) {
    JsonMembers members(out);
    write_document(problem, context, members);
    members.end();
    return type;
  }
  DetailCount details;
  write_details(problem, details);
  MsgpackMembers members(kDocumentEntries + details.count, out);
  write_document(problem, context, members);
  return type;
}

std::string_view openai_type(int http_status) {
  if (http_status == 401) return "authentication_error";
  if (http_status == 429) return "rate_limit_error";
  return http_status >= 500 ? "server_error" : "invalid_request_error";
}

void encode_openai(const Problem& problem, std::string& out) {
  const ProblemStatus& status = problem_status(problem.kind);
  out += "{\"error\": ";
  JsonMembers members(out);
  members.text("message", shown_message(problem));
  members.text("type", openai_type(status.http));
  if (problem.field && !is_hidden(problem)) {
    members.text("param", std::string_view(*problem.field).substr(0, problem.field->find('[')));
  } else {
    members.null("param");
  }
  members.text("code", status.code);
  members.end();
  out += '}';
}

// TEI's words for what it answers with 413 and 422, 424, 429, and 503.
std::string_view tei_type(const Problem& problem) {
  switch (problem.kind) {
    case ProblemKind::kQueueFull:
    case ProblemKind::kOutOfMemory:
      return "Overloaded";
    case ProblemKind::kUnavailable:
      return "Unhealthy";
    default:
      return problem_status(problem.kind).http >= 500 ? "Backend" : "Validation";
  }
}

void encode_tei(const Problem& problem, const ErrorContext& context, std::string& out) {
  JsonMembers members(out);
  write_document(problem, context, members);
  members.text("error_type", tei_type(problem));
  members.end();
}

}  // namespace

ErrorShape error_shape(std::string_view path) {
  const std::string decoded = unquote(path);
  if (decoded.starts_with("/v1/")) return ErrorShape::kOpenAi;
  return decoded == "/embed" ? ErrorShape::kTei : ErrorShape::kProblem;
}

std::string_view encode_error(const Problem& problem, const ErrorContext& context,
                              std::string& out) {
  switch (context.shape) {
    case ErrorShape::kOpenAi:
      encode_openai(problem, out);
      return kJsonType;
    case ErrorShape::kTei:
      encode_tei(problem, context, out);
      return kJsonType;
    case ErrorShape::kProblem:
      break;
  }
  return encode_document(problem, context, out);
}

void append_retry_headers(const Problem& problem, double jitter, std::string& out) {
  if (problem_status(problem.kind).http != 503) return;
  const auto asked_ms = static_cast<double>(problem.retry_after_ms.value_or(kRetryAfterMsDefault));
  constexpr double kWaitMsMax = 0x1p53;  // what a double counts exactly
  const auto wait_ms =
      static_cast<int64_t>(std::clamp(std::ceil(asked_ms * (1.0 + jitter)), 1.0, kWaitMsMax));
  out += "retry-after: ";
  out += std::to_string((wait_ms + 999) / 1000);
  out += "\r\nretry-after-ms: ";
  out += std::to_string(wait_ms);
  out += "\r\n";
}

}  // namespace pelton
