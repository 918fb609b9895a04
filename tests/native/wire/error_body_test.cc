#include "csrc/wire/error_body.h"

#include <string>
#include <string_view>

#include "tests/native/test.h"

namespace pelton {
namespace {

struct Encoded {
  std::string body;
  std::string_view type;
};

Encoded encoded(const Problem& problem, const ErrorContext& context) {
  Encoded result;
  result.type = encode_error(problem, context, result.body);
  return result;
}

Problem wrong_shape() {
  Problem problem;
  problem.kind = ProblemKind::kInvalidInput;
  problem.message = "inputs[0].shape: expected 2, got 3";
  problem.field = "inputs[0].shape";
  problem.offset = 7;
  return problem;
}

TEST(error_document_has_the_members_of_a_problem_document_and_the_details) {
  const Encoded result =
      encoded(wrong_shape(), {.path = "/v2/models/m/infer", .request_id = "id-1"});
  EXPECT_EQ(result.type, "application/json");
  EXPECT_EQ(result.body,
            "{\"error\": \"inputs[0].shape: expected 2, got 3\", "
            "\"type\": \"urn:pelton:error:invalid_input\", \"title\": \"Invalid input\", "
            "\"status\": 400, \"detail\": \"inputs[0].shape: expected 2, got 3\", "
            "\"instance\": \"/v2/models/m/infer\", \"code\": \"invalid_input\", "
            "\"request_id\": \"id-1\", \"field\": \"inputs[0].shape\", \"offset\": 7}");
}

TEST(error_document_decodes_its_path) {
  const auto instance = [](std::string_view path) {
    const std::string body = encoded(wrong_shape(), {.path = path}).body;
    const size_t begin = body.find("\"instance\": ") + 12;
    return body.substr(begin, body.find(", \"code\"") - begin);
  };
  EXPECT_EQ(instance("/a%20b%2fc"), "\"/a b/c\"");
  EXPECT_EQ(instance("/%c3%a9"), "\"/\\u00e9\"");
  // Not UTF-8: replaced where it was escaped, a lone surrogate where it came bare.
  EXPECT_EQ(instance("/%ff%e2%82x"), "\"/\\ufffd\\ufffdx\"");
  EXPECT_EQ(instance("/\xff"), "\"/\\udcff\"");
  EXPECT_EQ(instance("/%zz%2"), "\"/%zz%2\"");
}

TEST(error_type_is_what_the_client_reads) {
  const auto type = [](ErrorContext context) { return encoded(wrong_shape(), context).type; };
  EXPECT_EQ(type({}), "application/json");
  EXPECT_EQ(type({.accept = "text/html, Application/Problem+JSON;q=0.1"}),
            "application/problem+json");
  EXPECT_EQ(type({.accept = "application/problem+json;q=0, application/vnd.msgpack"}),
            "application/vnd.msgpack");
  EXPECT_EQ(type({.content_type = "application/msgpack; x=y"}), "application/msgpack");
  EXPECT_EQ(type({.content_type = "application/msgpack", .accept = "text/html"}),
            "application/json");
  EXPECT_EQ(type({.content_type = "application/msgpack", .inference_header_content_length = "3"}),
            "application/json");
}

TEST(error_document_in_msgpack) {
  Problem problem;
  problem.kind = ProblemKind::kUnavailable;
  problem.message = "no";
  problem.retry_after_ms = 300;
  const Encoded result = encoded(problem, {.path = "/\xff", .content_type = "application/msgpack"});
  EXPECT_EQ(result.body.substr(0, 10),
            "\x89\xA5"
            "error\xA2"
            "no");
  EXPECT(
      result.body.ends_with("\xAE"
                            "retry_after_ms\xCD\x01\x2C"));
  EXPECT(result.body.find("\xA8instance\xA2/?") != std::string::npos);
}

TEST(a_defect_shows_no_internals) {
  Problem problem;
  problem.kind = ProblemKind::kInternal;
  problem.message = "secret";
  problem.got = "secret";
  problem.field = "secret";
  for (const ErrorShape shape : {ErrorShape::kProblem, ErrorShape::kOpenAi, ErrorShape::kTei}) {
    const Encoded result = encoded(problem, {.shape = shape});
    EXPECT(result.body.find("secret") == std::string::npos);
    EXPECT(result.body.find("the server failed") != std::string::npos);
  }
}

TEST(error_shape_follows_the_path) {
  EXPECT_EQ(error_shape("/v1/embeddings"), ErrorShape::kOpenAi);
  EXPECT_EQ(error_shape("/%761/x"), ErrorShape::kOpenAi);
  EXPECT_EQ(error_shape("/v1"), ErrorShape::kProblem);
  EXPECT_EQ(error_shape("/embed"), ErrorShape::kTei);
  EXPECT_EQ(error_shape("/embeds"), ErrorShape::kProblem);
  EXPECT_EQ(error_shape(""), ErrorShape::kProblem);
}

TEST(error_in_the_shape_of_openai) {
  EXPECT_EQ(encoded(wrong_shape(), {.shape = ErrorShape::kOpenAi}).body,
            "{\"error\": {\"message\": \"inputs[0].shape: expected 2, got 3\", "
            "\"type\": \"invalid_request_error\", \"param\": \"inputs\", "
            "\"code\": \"invalid_input\"}}");
  Problem problem;
  problem.kind = ProblemKind::kQueueFull;
  problem.message = "full";
  EXPECT_EQ(encoded(problem, {.shape = ErrorShape::kOpenAi}).body,
            "{\"error\": {\"message\": \"full\", \"type\": \"server_error\", \"param\": null, "
            "\"code\": \"queue_full\"}}");
}

TEST(error_in_the_shape_of_tei) {
  const auto type = [](ProblemKind kind) {
    Problem problem;
    problem.kind = kind;
    problem.message = "m";
    const std::string body = encoded(problem, {.shape = ErrorShape::kTei, .path = "/embed"}).body;
    EXPECT(body.starts_with("{\"error\": \"m\", \"type\": "));
    return body.substr(body.find("\"error_type\""));
  };
  EXPECT_EQ(type(ProblemKind::kInvalidInput), "\"error_type\": \"Validation\"}");
  EXPECT_EQ(type(ProblemKind::kPayloadTooLarge), "\"error_type\": \"Validation\"}");
  EXPECT_EQ(type(ProblemKind::kQueueFull), "\"error_type\": \"Overloaded\"}");
  EXPECT_EQ(type(ProblemKind::kUnavailable), "\"error_type\": \"Unhealthy\"}");
  EXPECT_EQ(type(ProblemKind::kDeadlineExceeded), "\"error_type\": \"Backend\"}");
}

TEST(retry_headers_are_in_seconds_and_milliseconds) {
  const auto headers = [](std::optional<int64_t> wait_ms, double jitter) {
    Problem problem;
    problem.kind = ProblemKind::kQueueFull;
    problem.retry_after_ms = wait_ms;
    std::string out;
    append_retry_headers(problem, jitter, out);
    return out;
  };
  EXPECT_EQ(headers(std::nullopt, 0.0), "retry-after: 1\r\nretry-after-ms: 1000\r\n");
  EXPECT_EQ(headers(0, 0.0), "retry-after: 1\r\nretry-after-ms: 1\r\n");
  EXPECT_EQ(headers(1001, 0.0), "retry-after: 2\r\nretry-after-ms: 1001\r\n");
  EXPECT_EQ(headers(2000, 0.5), "retry-after: 3\r\nretry-after-ms: 3000\r\n");
  EXPECT_EQ(headers(INT64_MIN, 0.5), "retry-after: 1\r\nretry-after-ms: 1\r\n");
  EXPECT_EQ(headers(INT64_MAX, 0.5),
            "retry-after: 9007199254741\r\nretry-after-ms: 9007199254740992\r\n");
  std::string out;
  append_retry_headers(wrong_shape(), 0.0, out);
  EXPECT_EQ(out, "");
}

}  // namespace
}  // namespace pelton
