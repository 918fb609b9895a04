#include "csrc/wire/http_answer.h"

#include <string>

#include "tests/native/test.h"

namespace pelton {
namespace {

std::string answer(const AnswerHead& head) {
  std::string out = "before|";
  append_answer_head(head, out);
  return out;
}

std::string uuid7(int64_t unix_ms, uint64_t random_high, uint64_t random_low) {
  std::string out;
  append_uuid7(unix_ms, random_high, random_low, out);
  return out;
}

}  // namespace

TEST(http_answer_with_everything) {
  EXPECT_EQ(answer({.status = 503,
                    .content_type = "application/octet-stream",
                    .content_length = 1234567890123,
                    .json_bytes = 0,
                    .request_id = "id",
                    .common_fields = "date: now\r\nserver: pelton\r\n",
                    .more_fields = "retry-after: 1\r\n",
                    .close = true}),
            "before|HTTP/1.1 503 Service Unavailable\r\ndate: now\r\nserver: pelton\r\n"
            "content-type: application/octet-stream\r\ncontent-length: 1234567890123\r\n"
            "inference-header-content-length: 0\r\nx-request-id: id\r\nretry-after: 1\r\n"
            "connection: close\r\n\r\n");
}

TEST(http_answer_with_nothing) {
  EXPECT_EQ(answer({}), "before|HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

TEST(http_answer_of_statuses) {
  EXPECT_EQ(answer({.status = 100}), "before|HTTP/1.1 100 Continue\r\n\r\n");
  EXPECT_EQ(answer({.status = 204}), "before|HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(answer({.status = 499}), "before|HTTP/1.1 499 \r\ncontent-length: 0\r\n\r\n");
}

TEST(http_answer_reason_phrases) {
  const struct {
    int status;
    const char* phrase;
  } rows[] = {
      {100, "Continue"},
      {200, "OK"},
      {400, "Bad Request"},
      {404, "Not Found"},
      {405, "Method Not Allowed"},
      {406, "Not Acceptable"},
      {408, "Request Timeout"},
      {413, "Content Too Large"},
      {414, "URI Too Long"},
      {415, "Unsupported Media Type"},
      {417, "Expectation Failed"},
      {429, "Too Many Requests"},
      {431, "Request Header Fields Too Large"},
      {499, ""},
      {500, "Internal Server Error"},
      {501, "Not Implemented"},
      {503, "Service Unavailable"},
      {504, "Gateway Timeout"},
      {511, "Network Authentication Required"},
      {0, ""},
      {99, ""},
      {599, ""},
      {-1, ""},
  };
  for (const auto& row : rows) EXPECT_EQ(reason_phrase(row.status), row.phrase);
}

TEST(http_answer_allocates_nothing_in_memory_used_before) {
  std::string out;
  out.reserve(512);
  const size_t capacity = out.capacity();
  const char* const begin = out.data();
  append_answer_head({.content_type = "application/json", .request_id = "0123456789"}, out);
  append_uuid7(1, 2, 3, out);
  EXPECT_EQ(out.capacity(), capacity);
  EXPECT(out.data() == begin);
}

// The first is the example of RFC 9562, appendix A.6; the others are what the Python twin makes of
// the same bits.
TEST(http_answer_uuid7) {
  EXPECT_EQ(uuid7(0x017f22e279b0, 0xcc3, 0x18c4dc0c0c07398f),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
  EXPECT_EQ(uuid7(0, 0, 0), "00000000-0000-7000-8000-000000000000");
  EXPECT_EQ(uuid7(0xffffffffffff, ~uint64_t{0}, ~uint64_t{0}),
            "ffffffff-ffff-7fff-bfff-ffffffffffff");
  EXPECT_EQ(uuid7(1'764'072'000'000, 0xa5a5, 0x123456789abcdef0),
            "019abae2-8a00-75a5-9234-56789abcdef0");
}

TEST(http_answer_request_ids) {
  for (const std::string& id : {std::string("a"), std::string("!~"), std::string(128, 'x')}) {
    EXPECT_EQ(is_request_id(id), true);
  }
  for (const std::string& id :
       {std::string(), std::string(129, 'x'), std::string("a b"), std::string("a\n"),
        std::string("a\x7f"), std::string("\xc3\xa9"), std::string(1, '\0'), std::string("a\t")}) {
    EXPECT_EQ(is_request_id(id), false);
  }
}

}  // namespace pelton
