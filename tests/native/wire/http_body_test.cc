#include "csrc/wire/http_body.h"

#include <string>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

using namespace std::string_literals;

struct Outcome {
  std::string content;
  size_t consumed = 0;
  bool is_done = false;
  ProblemPtr problem;

  int status() const { return problem ? problem_status(problem->kind).http : 0; }
};

// Feeds what has come, at most `piece_bytes` more at a time.
Outcome read_all(HttpBodyReader reader, std::string_view bytes, size_t piece_bytes) {
  Outcome outcome;
  size_t come = 0;
  while (true) {
    const std::string buffer(bytes.substr(outcome.consumed, come - outcome.consumed));
    HttpBodyReader::Step step = reader.read(buffer);
    EXPECT(step.consumed <= buffer.size());
    if (!step.content.empty()) {
      EXPECT(step.content.data() >= buffer.data() &&
             step.content.data() + step.content.size() <= buffer.data() + step.consumed);
    }
    outcome.content += step.content;
    outcome.consumed += step.consumed;
    outcome.is_done = step.is_done;
    outcome.problem = std::move(step.problem);
    if (outcome.is_done || outcome.problem) return outcome;
    if (step.consumed > 0) continue;
    if (come == bytes.size()) return outcome;
    come = std::min(come + piece_bytes, bytes.size());
  }
}

HttpBodyReader reader_of(HttpFraming framing, int64_t length, int64_t bytes_max = 1 << 20,
                         const HttpLimits& limits = {}) {
  HttpHead head;
  head.framing = framing;
  head.content_length = length;
  HttpBodyReader reader;
  reader.begin(head, bytes_max, limits);
  return reader;
}

Outcome read_in_every_way(const HttpBodyReader& reader, std::string_view bytes) {
  Outcome whole = read_all(reader, bytes, bytes.size() + 1);
  for (const size_t piece_bytes : {size_t{1}, size_t{2}, size_t{3}, size_t{7}}) {
    const Outcome pieces = read_all(reader, bytes, piece_bytes);
    EXPECT_EQ(pieces.content, whole.content);
    EXPECT_EQ(pieces.consumed, whole.consumed);
    EXPECT_EQ(pieces.is_done, whole.is_done);
    EXPECT_EQ(pieces.status(), whole.status());
  }
  return whole;
}

Outcome read_chunks(std::string_view bytes, int64_t bytes_max = 1 << 20,
                    const HttpLimits& limits = {}) {
  return read_in_every_way(reader_of(HttpFraming::kChunked, 0, bytes_max, limits), bytes);
}

}  // namespace

TEST(http_body_of_no_bytes_is_done_at_once) {
  for (const HttpFraming framing : {HttpFraming::kNone, HttpFraming::kLength}) {
    HttpBodyReader reader = reader_of(framing, 0);
    EXPECT_EQ(reader.bytes_left(), 0);
    EXPECT_EQ(reader.read({}).is_done, true);
    const HttpBodyReader::Step step = reader_of(framing, 0).read("GET /");
    EXPECT_EQ(step.is_done, true);
    EXPECT_EQ(step.consumed, 0);
  }
}

TEST(http_body_by_length) {
  const Outcome outcome = read_in_every_way(reader_of(HttpFraming::kLength, 5), "helloGET /");
  EXPECT_EQ(outcome.is_done, true);
  EXPECT_EQ(outcome.content, "hello");
  EXPECT_EQ(outcome.consumed, 5);
  HttpBodyReader reader = reader_of(HttpFraming::kLength, 5);
  EXPECT_EQ(reader.bytes_left(), 5);
  const HttpBodyReader::Step step = reader.read("hel");
  EXPECT_EQ(step.is_done, false);
  EXPECT_EQ(step.content, "hel");
  EXPECT_EQ(reader.bytes_left(), 2);
  EXPECT_EQ(reader.read({}).is_done, false);
  EXPECT_EQ(reader.read("lo").is_done, true);
}

TEST(http_body_is_not_copied) {
  const std::string bytes = "5\r\nhello\r\n0\r\n\r\n";
  HttpBodyReader reader = reader_of(HttpFraming::kChunked, 0);
  EXPECT_EQ(reader.bytes_left(), 0);
  const HttpBodyReader::Step step = reader.read(bytes);
  EXPECT(step.content.data() == bytes.data() + 3);
  EXPECT_EQ(step.consumed, 8);
  EXPECT_EQ(reader.bytes_left(), 0);
}

TEST(http_body_in_chunks) {
  const struct {
    const char* bytes;
    const char* content;
  } rows[] = {
      {"0\r\n\r\n", ""},
      {"5\r\nhello\r\n0\r\n\r\n", "hello"},
      {"1\r\na\r\n2\r\nbc\r\n00\r\n\r\n", "abc"},
      {"a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"},
      {"0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a"},
      {"2;a=b\r\n\r\n\r\n0;c=\"d e\"\r\n\r\n", "\r\n"},
      {"1;\r\na\r\n0\r\n\r\n", "a"},
      {"1\r\na\r\n0\r\nTrailer: x\r\nEmpty:\r\n\r\n", "a"},
      {"0\r\nContent-Length: 5\r\n\r\n", ""},
  };
  for (const auto& row : rows) {
    const Outcome outcome = read_chunks(row.bytes + "POST /"s);
    if (!EXPECT_EQ(outcome.is_done, true)) testing::note(row.bytes);
    EXPECT_EQ(outcome.content, row.content);
    EXPECT_EQ(outcome.consumed, std::string_view(row.bytes).size());
  }
}

TEST(http_body_chunks_that_are_not_complete) {
  const std::string bytes = "1;x\r\na\r\n0\r\nA: b\r\n\r\n";
  for (size_t size = 0; size < bytes.size(); ++size) {
    const Outcome outcome = read_chunks(bytes.substr(0, size));
    EXPECT_EQ(outcome.is_done, false);
    EXPECT_EQ(outcome.status(), 0);
    EXPECT_EQ(outcome.consumed, size);
  }
}

TEST(http_body_violations_in_chunks) {
  const std::string rows[] = {
      "\r\n",
      "g\r\n",
      "0x1\r\n",
      "-1\r\n",
      "+1\r\n",
      " 1\r\n",
      "1 \r\n",
      "1 ;a\r\n",
      "1\t\r\n",
      ";a\r\n",
      "1\n",
      "1\rx",
      "1\r\r\n",
      "00000000000000001\r\n",
      "1;a\n",
      "1;a\0"s,
      "1;a\x7f",
      "1\r\nab",
      "1\r\na\n",
      "1\r\na\rx",
      "1\r\na\r\r",
      "1\r\na\r\n\r\n",
      "0\r\nx",  // with what follows, no field
      "0\r\n\n",
      "0\r\n\rx",
      "0\r\n a: b\r\n",
      "0\r\n: b\r\n",
      "0\r\na b\r\n",
      "0\r\na : b\r\n",
      "0\r\na: b\n",
      "0\r\na: b\rx",
      "0\r\na: \0"s,
      "0\r\na: b\r\n c\r\n",
  };
  for (const std::string& bytes : rows) {
    const Outcome outcome = read_chunks(bytes + "\n");
    if (!EXPECT_EQ(outcome.status(), 400)) testing::note(bytes);
    EXPECT_EQ(outcome.is_done, false);
  }
}

TEST(http_body_size_lines_without_digits_end_no_body) {
  EXPECT_EQ(read_chunks("\r\n\r\n").status(), 400);
  EXPECT_EQ(read_chunks(";a\r\n\r\n").status(), 400);
}

TEST(http_body_chunks_over_the_limit_of_the_body) {
  EXPECT_EQ(read_chunks("8\r\n01234567\r\n2\r\n89\r\n0\r\n\r\n", 10).is_done, true);
  EXPECT_EQ(read_chunks("8\r\n01234567\r\n3\r\n", 10).status(), 413);
  // Before any of its content is there.
  for (const std::string size : {"b", "7fffffffffffffff", "8000000000000000", "ffffffffffffffff"}) {
    const Outcome outcome = read_chunks(size + "\r\n", 10);
    EXPECT_EQ(outcome.status(), 413);
    EXPECT_EQ(outcome.content, "");
  }
  EXPECT_EQ(read_chunks("ffffffffffffffff\r\n", INT64_MAX - 1).status(), 413);
  EXPECT_EQ(read_chunks("1\r\na\r\n0\r\n\r\n", 0).status(), 413);
  EXPECT_EQ(read_chunks("0\r\n\r\n", 0).is_done, true);
}

TEST(http_body_limits_of_extensions) {
  const auto body = [](size_t first, size_t second) {
    return "1;" + std::string(first - 1, 'x') + "\r\na\r\n0;" + std::string(second - 1, 'y') +
           "\r\n\r\n";
  };
  EXPECT_EQ(read_chunks(body(1, 255)).is_done, true);
  EXPECT_EQ(read_chunks(body(2, 255)).status(), 400);
  EXPECT_EQ(read_chunks(body(257, 1)).status(), 400);
  EXPECT_EQ(read_chunks(body(100'000, 1)).status(), 400);
}

TEST(http_body_limit_of_chunks) {
  std::string chunks;
  for (int i = 0; i < HttpBodyReader::kChunksMax; ++i) chunks += "1\r\na\r\n";
  const HttpBodyReader reader = reader_of(HttpFraming::kChunked, 0);
  const Outcome outcome = read_all(reader, chunks + "0\r\n\r\n", 256);
  EXPECT_EQ(outcome.is_done, true);
  EXPECT_EQ(outcome.content.size(), 65'536);
  EXPECT_EQ(read_all(reader, chunks + "1\r\na\r\n", 256).status(), 400);
}

TEST(http_body_limits_of_trailers) {
  const HttpLimits limits{.header_bytes_max = 20, .header_count_max = 3};
  EXPECT_EQ(read_chunks("0\r\na:\r\nb:\r\nc:\r\n\r\n", 9, limits).is_done, true);
  EXPECT_EQ(read_chunks("0\r\na:\r\nb:\r\nc:\r\nd", 9, limits).status(), 431);
  EXPECT_EQ(read_chunks("0\r\na: 345678901234567\r\n\r\n", 9, limits).is_done, true);
  EXPECT_EQ(read_chunks("0\r\na: 3456789012345678\r\n\r\n", 9, limits).status(), 431);
  EXPECT_EQ(read_chunks("0\r\na: " + std::string(40'000, 'x')).status(), 431);
}

TEST(http_body_reader_is_used_again) {
  HttpHead head;
  head.framing = HttpFraming::kChunked;
  HttpBodyReader reader;
  for (int i = 0; i < 3; ++i) {
    reader.begin(head, 10);
    const Outcome outcome = read_all(reader, "2;x\r\nab\r\n0\r\n\r\n", 4);
    EXPECT_EQ(outcome.content, "ab");
    EXPECT_EQ(outcome.is_done, true);
    EXPECT_EQ(reader.read("1\r\n").problem == nullptr, true);
  }
}

}  // namespace pelton
