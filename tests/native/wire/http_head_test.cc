// One row per rule of the head; each text is also parsed in pieces, which may change nothing.
#include "csrc/wire/http_head.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

using namespace std::string_literals;

struct Outcome {
  HeadVerdict verdict = HeadVerdict::kNeedMore;
  HttpHead head;
  ProblemPtr problem;
  size_t seen = 0;  // how many bytes the call had that decided

  int status() const { return problem ? problem_status(problem->kind).http : 0; }
};

Outcome parse(std::string_view text, const HttpLimits& limits = {}) {
  Outcome outcome;
  size_t scanned = 0;
  outcome.verdict = parse_http_head(text, limits, scanned, outcome.head, outcome.problem);
  outcome.seen = text.size();
  return outcome;
}

// As a connection would: in a buffer that grows, and moves, piece by piece.
Outcome parse_in_pieces(std::string_view text, std::vector<size_t> ends,
                        const HttpLimits& limits = {}) {
  Outcome outcome;
  size_t scanned = 0;
  ends.push_back(text.size());
  for (const size_t end : ends) {
    const std::string buffer(text.substr(0, end));
    outcome.verdict = parse_http_head(buffer, limits, scanned, outcome.head, outcome.problem);
    outcome.seen = end;
    // Views of a buffer that is gone are compared by nobody.
    outcome.head.target = outcome.head.path = outcome.head.method_text = {};
    EXPECT(outcome.verdict == HeadVerdict::kViolation || !outcome.problem);
    EXPECT(outcome.verdict != HeadVerdict::kNeedMore || scanned <= end);
    if (outcome.verdict != HeadVerdict::kNeedMore) break;
  }
  return outcome;
}

void expect_same(const Outcome& whole, const Outcome& pieces) {
  EXPECT_EQ(static_cast<int>(whole.verdict), static_cast<int>(pieces.verdict));
  EXPECT_EQ(whole.status(), pieces.status());
  if (whole.verdict == HeadVerdict::kComplete) {
    EXPECT_EQ(whole.head.head_bytes, pieces.head.head_bytes);
    EXPECT_EQ(whole.head.content_length, pieces.head.content_length);
    EXPECT_EQ(static_cast<int>(whole.head.framing), static_cast<int>(pieces.head.framing));
    EXPECT_EQ(whole.head.keep_alive, pieces.head.keep_alive);
  }
  if (whole.problem && pieces.problem) EXPECT_EQ(whole.problem->message, pieces.problem->message);
}

std::vector<size_t> every_byte(size_t bytes) {
  std::vector<size_t> ends;
  for (size_t end = 0; end < bytes; ++end) ends.push_back(end);
  return ends;
}

void expect_split_invariant(std::string_view text, const HttpLimits& limits = {}) {
  const Outcome whole = parse(text, limits);
  const Outcome bytewise = parse_in_pieces(text, every_byte(text.size()), limits);
  expect_same(whole, bytewise);
  // Neither later than it can be known, nor earlier.
  if (bytewise.verdict != HeadVerdict::kNeedMore && bytewise.seen > 0) {
    const Outcome before = parse(text.substr(0, bytewise.seen - 1), limits);
    EXPECT_EQ(static_cast<int>(before.verdict), static_cast<int>(HeadVerdict::kNeedMore));
  }
  for (size_t at = 0; at < text.size() && text.size() < 1000; ++at) {
    expect_same(whole, parse_in_pieces(text, {at}, limits));
  }
}

std::string request(std::string_view line, std::string_view fields = "Host: x\r\n") {
  return std::string(line) + "\r\n" + std::string(fields) + "\r\n";
}

std::string with_field(std::string_view field) {
  return request("POST /v2 HTTP/1.1", "Host: x\r\n"s + std::string(field) + "\r\n");
}

// The text is a violation of this status, whole and in pieces.
void expect_refused(const std::string& text, int status, std::string_view field = {}) {
  const Outcome outcome = parse(text);
  if (!EXPECT_EQ(static_cast<int>(outcome.verdict), static_cast<int>(HeadVerdict::kViolation)) ||
      !EXPECT_EQ(outcome.status(), status) || !EXPECT(!outcome.problem->message.empty())) {
    testing::note("of: " + text.substr(0, 120));
  }
  if (outcome.problem && !field.empty()) EXPECT_EQ(outcome.problem->field.value_or(""), field);
  expect_split_invariant(text);
}

// The views of the head stay valid.
HttpHead expect_taken(std::string given) {
  static std::deque<std::string> kept;
  const std::string& text = kept.emplace_back(std::move(given));
  Outcome outcome = parse(text);
  if (!EXPECT_EQ(static_cast<int>(outcome.verdict), static_cast<int>(HeadVerdict::kComplete))) {
    testing::note("of: " + text.substr(0, 120) + ": " +
                  (outcome.problem ? outcome.problem->message : "more is needed"));
  }
  expect_split_invariant(text);
  return outcome.head;
}

}  // namespace

TEST(http_head_of_a_typical_request) {
  const std::string body = "{}";
  const std::string text =
      "POST /v2/models/minilm/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n"
      "user-agent: tritonclient/2.73\r\nContent-Type:application/json\r\n"
      "CONTENT-LENGTH:\t 2 \r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
      "Content-Encoding: gzip\r\nInference-Header-Content-Length: 120\r\nX-Request-Id: a-b\r\n"
      "Pelton-Deadline-Ms: 50\r\nAuthorization: Bearer x\r\nOrigin: http://localhost\r\n"
      "traceparent: 00-1-2-00\r\nX-Empty:\r\n\r\n";
  const HttpHead head = expect_taken(text + body);
  EXPECT_EQ(head.head_bytes, text.size());
  EXPECT_EQ(static_cast<int>(head.method), static_cast<int>(HttpMethod::kPost));
  EXPECT_EQ(head.method_text, "POST");
  EXPECT_EQ(head.target, "/v2/models/minilm/infer");
  EXPECT_EQ(head.path, "/v2/models/minilm/infer");
  EXPECT_EQ(head.has_query, false);
  EXPECT_EQ(head.minor_version, 1);
  EXPECT_EQ(static_cast<int>(head.framing), static_cast<int>(HttpFraming::kLength));
  EXPECT_EQ(head.content_length, 2);
  EXPECT_EQ(head.keep_alive, true);
  EXPECT_EQ(head.has_upgrade, false);
  EXPECT_EQ(head.expects_continue, false);
  EXPECT_EQ(head.has_repeated_field, false);
  EXPECT_EQ(head.host.value_or("-"), "127.0.0.1:8080");
  EXPECT_EQ(head.content_type.value_or("-"), "application/json");
  EXPECT_EQ(head.content_encoding.value_or("-"), "gzip");
  EXPECT_EQ(head.accept.value_or("-"), "*/*");
  EXPECT_EQ(head.accept_encoding.value_or("-"), "gzip, deflate");
  EXPECT_EQ(head.inference_header_content_length.value_or("-"), "120");
  EXPECT_EQ(head.request_id.value_or("-"), "a-b");
  EXPECT_EQ(head.deadline_ms.value_or("-"), "50");
  EXPECT_EQ(head.authorization.value_or("-"), "Bearer x");
  EXPECT_EQ(head.origin.value_or("-"), "http://localhost");
  EXPECT_EQ(head.traceparent.value_or("-"), "00-1-2-00");
}

TEST(http_head_without_fields_has_none) {
  const HttpHead head = expect_taken(request("POST /v2 HTTP/1.1"));
  EXPECT_EQ(static_cast<int>(head.framing), static_cast<int>(HttpFraming::kNone));
  EXPECT_EQ(head.content_length, 0);
  EXPECT(!head.content_type && !head.accept && !head.content_encoding && !head.request_id);
  EXPECT(!head.inference_header_content_length && !head.deadline_ms && !head.authorization);
}

TEST(http_head_methods) {
  const struct {
    const char* method;
    HttpMethod expected;
  } rows[] = {{"GET", HttpMethod::kGet},        {"HEAD", HttpMethod::kHead},
              {"POST", HttpMethod::kPost},      {"OPTIONS", HttpMethod::kOptions},
              {"DELETE", HttpMethod::kOther},   {"get", HttpMethod::kOther},
              {"M-SEARCH", HttpMethod::kOther}, {"!#$%&'*+-.^_`|~9", HttpMethod::kOther}};
  for (const auto& row : rows) {
    const std::string line = std::string(row.method) + " / HTTP/1.1";
    const std::string text = request(line);
    const HttpHead head = expect_taken(text);
    EXPECT_EQ(static_cast<int>(head.method), static_cast<int>(row.expected));
    EXPECT_EQ(head.method_text, row.method);
  }
  for (const std::string line : {" GET / HTTP/1.1", "G(T / HTTP/1.1", "GET\t/ HTTP/1.1", "GET",
                                 "/ HTTP/1.1", "G\xc3\x89T / HTTP/1.1", "GET@ / HTTP/1.1"}) {
    expect_refused(request(line), 400);
  }
}

TEST(http_head_versions) {
  EXPECT_EQ(expect_taken(request("GET / HTTP/1.0", "")).minor_version, 0);
  EXPECT_EQ(expect_taken(request("GET / HTTP/1.1")).minor_version, 1);
  for (const std::string version : {"HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/1.", "HTTP/1.10",
                                    "http/1.1", "HTTP/1.1 ", " HTTP/1.1", "HTTP/01.1", ""}) {
    expect_refused(request("GET / " + version), 400);
  }
  expect_refused("GET /\r\n\r\n", 400);
  expect_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400);
}

TEST(http_head_forms_of_targets) {
  const struct {
    const char* line;
    const char* path;
    bool has_query;
  } rows[] = {
      {"GET / HTTP/1.1", "/", false},
      {"GET /a/b?c=d HTTP/1.1", "/a/b", true},
      {"GET /a? HTTP/1.1", "/a", true},
      {"GET //a HTTP/1.1", "//a", false},
      {"GET /%7Ea~!$&'()*+,;=:@[]{}|^\"<>\\` HTTP/1.1", "/%7Ea~!$&'()*+,;=:@[]{}|^\"<>\\`", false},
      {"GET http://x/a HTTP/1.1", "/a", false},
      {"GET HTTPS://x.y:80/a?b HTTP/1.1", "/a", true},
      {"GET http://[::1]:80/a HTTP/1.1", "/a", false},
      {"GET http://x HTTP/1.1", "", false},
      {"GET http://x?q HTTP/1.1", "", true},
      {"OPTIONS * HTTP/1.1", "*", false},
  };
  for (const auto& row : rows) {
    const std::string text = request(row.line);
    const HttpHead head = expect_taken(text);
    EXPECT_EQ(head.path, row.path);
    EXPECT_EQ(head.has_query, row.has_query);
  }
  for (const std::string target :
       {"*", "a", "x:80", "ftp://x/a", "http:/x/a", "http:///a", "http://u@x/a", "http://x:port/",
        "://x/", "/a#b", "/\x7f", "/\xc3\xa9", "/\x80", "", "/a b"}) {
    expect_refused(request("GET " + target + " HTTP/1.1"), 400);
  }
  for (const std::string target : {"x", "/a", "*", "[::1]", "x:80:"}) {
    expect_refused(request("CONNECT " + target + " HTTP/1.1"), 400);
  }
  expect_refused(request("CONNECT x:80 HTTP/1.1"), 501);
  expect_refused("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"s, 400);
  expect_refused("GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n"s, 400);
}

TEST(http_head_ignores_one_empty_line_in_front) {
  const std::string text = request("GET / HTTP/1.1");
  const HttpHead head = expect_taken("\r\n" + text);
  EXPECT_EQ(head.head_bytes, text.size() + 2);
  expect_refused("\r\n\r\n" + text, 400);
  expect_refused("\n" + text, 400);
  expect_refused("\rG", 400);
}

TEST(http_head_hosts) {
  EXPECT_EQ(expect_taken(request("GET / HTTP/1.0", "")).host.has_value(), false);
  for (const std::string host : {"x", "a-b.c_d:8080", "127.0.0.1", "[::1]", "[fe80::1.2.3.4]:65535",
                                 "%2Frun%2Fx.sock", "x:", ""}) {
    const std::string text = request("GET / HTTP/1.1", "Host: " + host + "\r\n");
    EXPECT_EQ(expect_taken(text).host.value_or("-"), host);
  }
  for (const std::string host : {"a b", "a,b", "a/b", "u@x", "x:80:80", "x:8o", "x:123456", "[::1",
                                 "[]", "[::g]", "::1", ":80", "[::1]x", "http://x", "\xc3\xa9"}) {
    expect_refused(request("GET / HTTP/1.1", "Host: " + host + "\r\n"), 400, "Host");
  }
  expect_refused(request("GET / HTTP/1.1", ""), 400, "Host");
  expect_refused(request("GET / HTTP/1.1", "Host: a\r\nHost: a\r\n"), 400, "Host");
  expect_refused(request("GET / HTTP/1.0", "Host: a\r\nhOST: b\r\n"), 400, "Host");
}

TEST(http_head_names_of_fields) {
  for (const std::string field : {"Name : v", "Name\t: v", "Na me: v", ": v", " : v", "Name",
                                  "N(: v", "N\xc3\xa9: v", "\"n\": v", "n/a: v"}) {
    expect_refused(with_field(field), 400);
  }
  const std::string text = with_field("!#$%&'*+-.^_`|~09azAZ: v");
  EXPECT_EQ(expect_taken(text).head_bytes, text.size());
}

TEST(http_head_values_of_fields) {
  const std::string text = with_field("Content-Type: \t a\tb \xc3\xa9\t ");
  EXPECT_EQ(expect_taken(text).content_type.value_or("-"), "a\tb \xc3\xa9");
  for (char c = 1; c < 0x20; ++c) {
    if (c != '\t') expect_refused(with_field("X: a"s + c + "b"), 400);
  }
  expect_refused(with_field("X: a\0b"s), 400);
  expect_refused(with_field("X: a\x7f"), 400);
}

TEST(http_head_folded_lines) {
  expect_refused(with_field("X: a\r\n b"), 400);
  expect_refused(with_field("X: a\r\n\tb"), 400);
  expect_refused(request("GET / HTTP/1.1", " Host: x\r\n"), 400);
}

// At once, also while the head is incomplete: who waits for CRLFCRLF waits for ever.
TEST(http_head_bad_line_ends) {
  const std::string texts[] = {"GET / HTTP/1.1\n",
                               "GET / HTTP/1.1\nHost: x\n\n",
                               "GET / HTTP/1.1\r\nHost: x\n",
                               "GET / HTTP/1.1\rX",
                               "GET / HTTP/1.1\r\nHost: x\rY",
                               "GET / HTTP/1.1\r\r",
                               "GET / HTTP/1.1\r\nHost: x\r\n\n",
                               "GET / HTTP/1.1\r\nHost: x\r\n\rX",
                               "GET \0"s,
                               "GE\nT",
                               "\n",
                               "GET / HTTP/1.1\r\nX: \0"s};
  for (const std::string& text : texts) {
    expect_refused(text, 400);
    // The byte before was still fine: the violation is known as soon as it is there.
    const size_t at = text.find_first_of("\n\0"s);
    const Outcome pieces = parse_in_pieces(text, every_byte(text.size()));
    if (at != std::string::npos && (at == 0 || text[at - 1] != '\r')) EXPECT(pieces.seen <= at + 1);
  }
}

TEST(http_head_is_judged_line_by_line) {
  const std::string garbage = "\x16\x03\x01\x02"s;  // as TLS begins
  EXPECT_EQ(parse(garbage).status(), 400);
  const Outcome outcome = parse("GET / HTTP/3\r\n");
  EXPECT_EQ(outcome.status(), 400);
  EXPECT_EQ(outcome.problem->got.value_or(""), "HTTP/3");
}

TEST(http_head_content_lengths) {
  const struct {
    const char* value;
    int64_t expected;
  } rows[] = {{"0", 0}, {"7", 7}, {"0000000000000000007", 7}, {"9223372036854775807", INT64_MAX}};
  for (const auto& row : rows) {
    const HttpHead head = expect_taken(with_field("Content-Length: "s + row.value));
    EXPECT_EQ(static_cast<int>(head.framing), static_cast<int>(HttpFraming::kLength));
    EXPECT_EQ(head.content_length, row.expected);
  }
  for (const std::string value :
       {"", "-1", "+1", "1 1", "1,1", "1, 2", "0x1", "1.0", "1e3", "a", "9223372036854775808",
        "9999999999999999999", "00000000000000000007", "-0", "\xd9\xa1"}) {
    expect_refused(with_field("Content-Length: " + value), 400, "Content-Length");
  }
  expect_refused(with_field("Content-Length: 1\r\nContent-Length: 2"), 400, "Content-Length");
  expect_refused(with_field("Content-Length: 1\r\ncontent-length: 1"), 400, "Content-Length");
}

TEST(http_head_transfer_codings) {
  for (const std::string value : {"chunked", "Chunked", " CHUNKED\t"}) {
    const HttpHead head = expect_taken(with_field("Transfer-Encoding: " + value));
    EXPECT_EQ(static_cast<int>(head.framing), static_cast<int>(HttpFraming::kChunked));
    EXPECT_EQ(head.content_length, 0);
  }
  for (const std::string value : {"gzip", "gzip, chunked", "identity", "xchunked", "a;b=c, chunked",
                                  "gzip\r\nTransfer-Encoding: chunked"}) {
    expect_refused(with_field("Transfer-Encoding: " + value), 501, "Transfer-Encoding");
  }
  for (const std::string value :
       {"", "chunked, gzip", "chunked, chunked", "chunked;a=b", "chunked,", ",chunked", "chun ked",
        "\"chunked\"", "chunked\r\nTransfer-Encoding: chunked", "gzip;q=1 x, chu/nked"}) {
    expect_refused(with_field("Transfer-Encoding: " + value), 400, "Transfer-Encoding");
  }
  for (const std::string both : {"Content-Length: 1\r\nTransfer-Encoding: chunked",
                                 "Transfer-Encoding: chunked\r\nContent-Length: 1",
                                 "Transfer-Encoding: gzip\r\nContent-Length: 1"}) {
    expect_refused(with_field(both), 400, "Transfer-Encoding");
  }
  expect_refused(request("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), 400,
                 "Transfer-Encoding");
}

TEST(http_head_connection) {
  const struct {
    const char* line;
    const char* fields;
    bool keep_alive;
    bool has_upgrade;
  } rows[] = {
      {"GET / HTTP/1.1", "", true, false},
      {"GET / HTTP/1.0", "", false, false},
      {"GET / HTTP/1.0", "Connection: Keep-Alive\r\n", true, false},
      {"GET / HTTP/1.1", "Connection: close\r\n", false, false},
      {"GET / HTTP/1.1", "connection: x, ,CLOSE\r\n", false, false},
      {"GET / HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false, false},
      {"GET / HTTP/1.0", "Connection: close, keep-alive\r\n", false, false},
      {"GET / HTTP/1.1", "Connection: closed, keep\r\n", true, false},
      {"GET / HTTP/1.1", "Connection: keep-alive, Upgrade\r\n", true, true},
      {"GET / HTTP/1.1", "Upgrade: h2c\r\n", true, true},
  };
  for (const auto& row : rows) {
    const HttpHead head = expect_taken(request(row.line, "Host: x\r\n"s + row.fields));
    EXPECT_EQ(head.keep_alive, row.keep_alive);
    EXPECT_EQ(head.has_upgrade, row.has_upgrade);
    EXPECT_EQ(head.has_repeated_field, false);
  }
}

TEST(http_head_expectations) {
  EXPECT_EQ(expect_taken(with_field("Expect: 100-Continue")).expects_continue, true);
  EXPECT_EQ(expect_taken(request("GET / HTTP/1.0", "Expect: 100-continue\r\n")).expects_continue,
            false);
  for (const std::string value : {"x", "100-continue, x", "100", ""}) {
    expect_refused(with_field("Expect: " + value), 417, "Expect");
  }
  // What breaks the framing weighs more.
  expect_refused(with_field("Expect: x\r\nContent-Length: 1\r\nContent-Length: 1"), 400);
}

TEST(http_head_repeated_fields) {
  for (const std::string name : {"Content-Type", "Content-Encoding", "Accept", "Accept-Encoding",
                                 "X-Request-Id", "Inference-Header-Content-Length",
                                 "Pelton-Deadline-Ms", "Authorization", "Origin", "traceparent"}) {
    const std::string text = with_field(name + ": a\r\n" + name + ": b");
    EXPECT_EQ(expect_taken(text).has_repeated_field, true);
  }
  const std::string text = with_field("Accept: a\r\nAccept: b");
  EXPECT_EQ(expect_taken(text).accept.value_or("-"), "a");
  EXPECT_EQ(expect_taken(with_field("X: a\r\nX: b")).has_repeated_field, false);
}

TEST(http_head_limits_of_the_request_line) {
  const HttpLimits limits{.request_line_bytes_max = 40, .target_bytes_max = 20};
  const auto line = [](size_t bytes) {
    return "M" + std::string(bytes - 18, 'M') + " /aaaaaa HTTP/1.1";
  };
  EXPECT_EQ(line(40).size(), 40);
  EXPECT_EQ(static_cast<int>(parse(request(line(40)), limits).verdict),
            static_cast<int>(HeadVerdict::kComplete));
  EXPECT_EQ(parse(request(line(41)), limits).status(), 414);
  EXPECT_EQ(parse(line(41).substr(0, 41), limits).status(), 414);
  EXPECT_EQ(static_cast<int>(parse(line(40), limits).verdict),
            static_cast<int>(HeadVerdict::kNeedMore));
  EXPECT_EQ(parse(std::string(41, 'a'), limits).status(), 414);
  for (const std::string& text : {request(line(40)), request(line(41)), "\r\n" + request(line(40)),
                                  "\r\n" + request(line(41)), line(60) + '\0', line(41) + "\n"}) {
    expect_split_invariant(text, limits);
  }
  const std::string target(20, '/');
  EXPECT_EQ(static_cast<int>(parse(request("G " + target + " HTTP/1.1"), limits).verdict),
            static_cast<int>(HeadVerdict::kComplete));
  EXPECT_EQ(parse(request("G " + target + "/ HTTP/1.1"), limits).status(), 414);
  EXPECT_EQ(parse(request("GET /" + std::string(4096, 'x') + " HTTP/1.1")).status(), 414);
  EXPECT_EQ(parse("GET /" + std::string(8188, 'x')).status(), 414);
  EXPECT_EQ(static_cast<int>(parse("GET /" + std::string(8187, 'x')).verdict),
            static_cast<int>(HeadVerdict::kNeedMore));
}

TEST(http_head_limits_of_the_fields) {
  const HttpLimits limits{.header_bytes_max = 60, .header_count_max = 3};
  const std::string line = "GET / HTTP/1.1\r\nHost: x\r\n";
  const auto fields = [&](size_t value_bytes) {
    return line + "A: " + std::string(value_bytes, 'v') + "\r\n\r\n";
  };
  // 9 bytes of Host, 3 of the name: the content of the last line ends at byte 60.
  EXPECT_EQ(static_cast<int>(parse(fields(48), limits).verdict),
            static_cast<int>(HeadVerdict::kComplete));
  EXPECT_EQ(parse(fields(49), limits).status(), 431);
  EXPECT_EQ(parse(fields(49).substr(0, line.size() + 52), limits).status(), 431);
  EXPECT_EQ(static_cast<int>(parse(fields(48).substr(0, line.size() + 51), limits).verdict),
            static_cast<int>(HeadVerdict::kNeedMore));
  for (const size_t bytes : {46, 47, 48, 49, 50, 80}) {
    expect_split_invariant(fields(bytes), limits);
    expect_split_invariant("\r\n" + fields(bytes), limits);
  }
  EXPECT_EQ(static_cast<int>(parse(line + "a:\r\nb:\r\n\r\n", limits).verdict),
            static_cast<int>(HeadVerdict::kComplete));
  // Before the head is complete.
  EXPECT_EQ(parse(line + "a:\r\nb:\r\nc:\r\n", limits).status(), 431);
  expect_split_invariant(line + "a:\r\nb:\r\nc:\r\n\r\n", limits);
  EXPECT_EQ(parse(line + "A: " + std::string(33'000, 'v')).status(), 431);
  expect_split_invariant(line + "A: " + std::string(1'000, '\t') + "\r\n\r\n");
}

// Bytes of which a violation comes after the limit was passed: the same verdict at any cut.
TEST(http_head_first_fault_decides) {
  const HttpLimits limits{.request_line_bytes_max = 32,
                          .target_bytes_max = 16,
                          .header_bytes_max = 40,
                          .header_count_max = 2};
  const std::string texts[] = {
      std::string(40, 'a') + '\0',
      std::string(32, 'a') + '\0' + std::string(9, 'a'),
      std::string(33, 'a') + "\r\n",
      std::string(32, 'a') + "\r\r",
      "GET / HTTP/1.1\r\nA: " + std::string(60, 'a') + "\n",
      "GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\0"s,
      "GET / HTTP/1.1\r\na:\r\nb:\r\nc: \0\r\n"s,
      "GET / HTTP/1.9\r\n\n",
      "GET / HTTP/1.1\r\nHost: x\r\nExpect: y\r\n\r\n",
  };
  for (const std::string& text : texts) expect_split_invariant(text, limits);
  EXPECT_EQ(parse(texts[0], limits).status(), 414);
  EXPECT_EQ(parse(texts[1], limits).status(), 400);
  EXPECT_EQ(parse(texts[5], limits).status(), 431);
}

TEST(http_head_problems_show_no_raw_bytes) {
  const Outcome outcome = parse(with_field("Host: a\x80" + std::string(200, 'b')));
  EXPECT_EQ(outcome.status(), 400);
  const Outcome bad =
      parse(request("GET / HTTP/1.1", "Host: a\x80" + std::string(200, 'b') + "\r\n"));
  EXPECT_EQ(bad.problem->got.value_or(""), "a\\x80" + std::string(62, 'b') + "...");
  EXPECT(bad.problem->message.starts_with("the request is not HTTP/1.1: "));
}

// A head of the largest size, byte by byte: each byte is looked at a bounded number of times.
TEST(http_head_byte_by_byte_is_linear) {
  const std::string line = "GET /" + std::string(4000, 'x') + " HTTP/1.1\r\nHost: x\r\n";
  const std::string text = line + "A: " + std::string(28'000, 'v') + "\r\n\r\n";
  HttpHead head;
  ProblemPtr problem;
  size_t scanned = 0;
  for (size_t end = 0; end < text.size(); ++end) {
    const size_t before = scanned;
    ASSERT(parse_http_head({text.data(), end}, {}, scanned, head, problem) ==
           HeadVerdict::kNeedMore);
    ASSERT(scanned >= before && scanned + 1 >= end);
  }
  ASSERT(parse_http_head(text, {}, scanned, head, problem) == HeadVerdict::kComplete);
  EXPECT_EQ(head.head_bytes, text.size());
}

}  // namespace pelton
