// Heads and bodies of requests, one behind the other, as they would come on a connection.
//
// Invariants: bytes give the same verdicts and contents however they are cut into calls; nothing
// behind a head has a say in it; views lie inside the head, content inside what was consumed.
#include <algorithm>
#include <string>

#include "csrc/wire/http_body.h"
#include "csrc/wire/http_head.h"
#include "tests/fuzz/fuzz_target.h"

namespace pelton::fuzz {
namespace {

constexpr int64_t kBodyBytesMax = 512;
constexpr int kRequestsMax = 8;

struct Head {
  HeadVerdict verdict = HeadVerdict::kNeedMore;
  HttpHead head;
  ProblemPtr problem;
};

struct Body {
  std::string content;
  size_t consumed = 0;
  bool is_done = false;
  ProblemPtr problem;
};

void add(const std::optional<std::string_view>& field, Digest& digest) {
  digest.add(field.has_value());
  if (field.has_value()) digest.add(*field);
}

uint64_t digest_of(const HttpHead& head) {
  Digest digest;
  for (const std::string_view text : {head.method_text, head.target, head.path}) digest.add(text);
  for (const auto& field :
       {head.host, head.content_type, head.content_encoding, head.accept, head.accept_encoding,
        head.inference_header_content_length, head.request_id, head.deadline_ms, head.authorization,
        head.origin, head.traceparent}) {
    add(field, digest);
  }
  digest.add(head.head_bytes);
  digest.add(static_cast<uint64_t>(head.content_length));
  for (const bool flag : {head.has_query, head.keep_alive, head.has_upgrade, head.expects_continue,
                          head.has_repeated_field}) {
    digest.add(flag);
  }
  digest.add(static_cast<uint64_t>(head.minor_version));
  digest.add(static_cast<uint64_t>(head.method));
  digest.add(static_cast<uint64_t>(head.framing));
  return digest.value();
}

void check_views(const HttpHead& head, std::string_view bytes) {
  FUZZ_EXPECT(head.head_bytes <= bytes.size());
  const std::string_view text = bytes.substr(0, head.head_bytes);
  for (const std::string_view view : {head.method_text, head.target, head.path}) {
    FUZZ_EXPECT(is_inside(view, text));
  }
  for (const auto& field :
       {head.host, head.content_type, head.content_encoding, head.accept, head.accept_encoding,
        head.inference_header_content_length, head.request_id, head.deadline_ms, head.authorization,
        head.origin, head.traceparent}) {
    FUZZ_EXPECT(!field.has_value() || is_inside(*field, text));
  }
}

void check_route(const HttpHead& head) {
  std::string decoded;
  Route route;
  const ProblemPtr problem = match_route(head, decoded, route);
  FUZZ_EXPECT(!problem ||
              (route.kind == RouteKind::kInfer && problem->kind == ProblemKind::kModelNotFound));
  if (route.kind != RouteKind::kInfer || problem) return;
  for (const std::string_view name : {route.model, route.version}) {
    FUZZ_EXPECT(is_inside(name, head.path) || is_inside(name, decoded));
    FUZZ_EXPECT(name.find('/') == std::string_view::npos && name.size() <= 255);
  }
  FUZZ_EXPECT(!route.model.empty());
}

HeadVerdict verdict_of(std::string_view bytes, const HttpLimits& limits) {
  Head alone;
  size_t scanned = 0;
  return parse_http_head(bytes, limits, scanned, alone.head, alone.problem);
}

// In a buffer that grows by `step` bytes and moves each time.
void check_pieces(std::string_view bytes, const HttpLimits& limits, size_t step,
                  const Head& whole) {
  Head pieces;
  size_t scanned = 0;
  for (size_t come = std::min(step, bytes.size());; come = std::min(come + step, bytes.size())) {
    const ExactCopy buffer(bytes.substr(0, come));
    pieces.verdict = parse_http_head(buffer.text(), limits, scanned, pieces.head, pieces.problem);
    FUZZ_EXPECT((pieces.verdict == HeadVerdict::kViolation) == (pieces.problem != nullptr));
    if (pieces.verdict == HeadVerdict::kNeedMore) {
      FUZZ_EXPECT(scanned <= come && come - scanned <= 1);
      if (come < bytes.size()) continue;
    }
    FUZZ_EXPECT(pieces.verdict == whole.verdict);
    if (step == 1 && come > 1 && whole.verdict != HeadVerdict::kNeedMore) {
      // It was known as soon as it could be.
      FUZZ_EXPECT(verdict_of(bytes.substr(0, come - 1), limits) == HeadVerdict::kNeedMore);
    }
    if (whole.problem) {
      FUZZ_EXPECT(pieces.problem->kind == whole.problem->kind);
    } else if (whole.verdict == HeadVerdict::kComplete) {
      FUZZ_EXPECT(digest_of(pieces.head) == digest_of(whole.head));
    }
    return;
  }
}

Head check_head(std::string_view bytes, const HttpLimits& limits) {
  Head whole;
  size_t scanned = 0;
  whole.verdict = parse_http_head(bytes, limits, scanned, whole.head, whole.problem);
  FUZZ_EXPECT((whole.verdict == HeadVerdict::kViolation) == (whole.problem != nullptr));
  for (const size_t step : {size_t{1}, size_t{2}, size_t{7}, size_t{61}}) {
    if (bytes.size() / step <= 2048) check_pieces(bytes, limits, step, whole);
  }
  if (whole.verdict != HeadVerdict::kComplete) return whole;
  check_views(whole.head, bytes);
  check_route(whole.head);
  const ExactCopy alone(bytes.substr(0, whole.head.head_bytes));
  Head again;
  scanned = 0;
  again.verdict = parse_http_head(alone.text(), limits, scanned, again.head, again.problem);
  FUZZ_EXPECT(again.verdict == HeadVerdict::kComplete);
  FUZZ_EXPECT(digest_of(again.head) == digest_of(whole.head));
  return whole;
}

Body read_body(const HttpHead& head, const HttpLimits& limits, std::string_view bytes,
               size_t step) {
  HttpBodyReader reader;
  reader.begin(head, kBodyBytesMax, limits);
  Body body;
  size_t come = std::min(step, bytes.size());
  for (;;) {
    const ExactCopy buffer(bytes.substr(body.consumed, come - body.consumed));
    HttpBodyReader::Step read = reader.read(buffer.text());
    FUZZ_EXPECT(read.consumed <= buffer.text().size());
    FUZZ_EXPECT(is_inside(read.content, buffer.text().substr(0, read.consumed)));
    body.content += read.content;
    body.consumed += read.consumed;
    body.is_done = read.is_done;
    body.problem = std::move(read.problem);
    FUZZ_EXPECT(!(body.is_done && body.problem));
    if (body.is_done || body.problem) return body;
    if (read.consumed > 0) continue;
    FUZZ_EXPECT(body.consumed == come);
    if (come == bytes.size()) return body;
    come = std::min(come + step, bytes.size());
  }
}

Body check_body(const HttpHead& head, const HttpLimits& limits, std::string_view bytes) {
  Body whole = read_body(head, limits, bytes, bytes.size() + 1);
  if (head.framing == HttpFraming::kChunked) {
    FUZZ_EXPECT(static_cast<int64_t>(whole.content.size()) <= kBodyBytesMax);
  } else {
    FUZZ_EXPECT(static_cast<int64_t>(whole.content.size()) <= head.content_length);
    FUZZ_EXPECT(!whole.problem);
  }
  for (const size_t step : {size_t{1}, size_t{3}, size_t{17}}) {
    if (bytes.size() / step > 4096) continue;
    const Body pieces = read_body(head, limits, bytes, step);
    FUZZ_EXPECT(pieces.content == whole.content);
    FUZZ_EXPECT(pieces.consumed == whole.consumed);
    FUZZ_EXPECT(pieces.is_done == whole.is_done);
    FUZZ_EXPECT((pieces.problem == nullptr) == (whole.problem == nullptr));
    if (whole.problem) FUZZ_EXPECT(pieces.problem->kind == whole.problem->kind);
  }
  return whole;
}

void check_connection(std::string_view bytes, const HttpLimits& limits) {
  for (int i = 0; i < kRequestsMax && !bytes.empty(); ++i) {
    const Head head = check_head(bytes, limits);
    if (head.verdict != HeadVerdict::kComplete) return;
    bytes.remove_prefix(head.head.head_bytes);
    const Body body = check_body(head.head, limits, bytes);
    if (!body.is_done) return;
    bytes.remove_prefix(body.consumed);
  }
}

}  // namespace
}  // namespace pelton::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const pelton::fuzz::ExactCopy input({reinterpret_cast<const char*>(data), size});
  // Limits that short inputs reach, then those of the server.
  pelton::fuzz::check_connection(input.text(), {.request_line_bytes_max = 96,
                                                .target_bytes_max = 64,
                                                .header_bytes_max = 256,
                                                .header_count_max = 8});
  pelton::fuzz::check_connection(input.text(), {});
  return 0;
}
