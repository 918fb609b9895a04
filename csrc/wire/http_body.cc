#include "csrc/wire/http_body.h"

#include <algorithm>
#include <limits>
#include <string>

#include "csrc/wire/http_chars.h"

namespace pelton {
namespace {

ProblemPtr violation(std::string_view what, char got) {
  const std::string text = "the chunked body is not HTTP/1.1: " + std::string(what);
  ProblemPtr problem = make_problem(ProblemKind::kInvalidInput, text);
  problem->expected = what;
  problem->got = "'" + http::shown({&got, 1}) + "'";
  return problem;
}

ProblemPtr too_many(std::string what) {
  ProblemPtr problem =
      make_problem(ProblemKind::kInvalidInput, "the chunked body has more than " + what);
  problem->expected = "at most " + std::move(what);
  return problem;
}

ProblemPtr body_too_large(int64_t bytes_max) {
  const std::string bytes = std::to_string(bytes_max);
  ProblemPtr problem =
      make_problem(ProblemKind::kPayloadTooLarge,
                   "expected a body of at most " + bytes + " bytes, got chunks of more");
  problem->expected = "at most " + bytes + " bytes";
  problem->got = "chunks of more";
  return problem;
}

ProblemPtr trailers_too_large() {
  return make_problem(ProblemKind::kHeadersTooLarge,
                      "the trailers of the chunked body are over the limits of header fields");
}

}  // namespace

void HttpBodyReader::begin(const HttpHead& head, int64_t body_bytes_max, const HttpLimits& limits) {
  *this = HttpBodyReader();
  body_bytes_max_ = body_bytes_max;
  trailer_bytes_left_ = limits.header_bytes_max;
  trailers_left_ = limits.header_count_max;
  if (head.framing == HttpFraming::kChunked) {
    state_ = State::kSize;
  } else if (head.framing == HttpFraming::kLength) {
    left_ = head.content_length;
  }
}

HttpBodyReader::Step HttpBodyReader::read(std::string_view bytes) {
  Step step;
  for (;;) {
    if (state_ == State::kLength || state_ == State::kContent) {
      const size_t size =
          std::min(bytes.size() - step.consumed, static_cast<size_t>(std::max<int64_t>(left_, 0)));
      step.content = bytes.substr(step.consumed, size);
      step.consumed += size;
      left_ -= static_cast<int64_t>(size);
      if (left_ == 0 && state_ == State::kContent) state_ = State::kContentCr;
      step.is_done = state_ == State::kLength && left_ == 0;
      return step;
    }
    if (state_ == State::kDone) {
      step.is_done = true;
      return step;
    }
    if (step.consumed == bytes.size()) return step;
    step.problem = take(bytes[step.consumed++]);
    if (step.problem) return step;
  }
}

ProblemPtr HttpBodyReader::expect(char c, char expected, State next) {
  if (c != expected) return violation(expected == '\r' ? "a CR" : "an LF behind the CR", c);
  state_ = next;
  return nullptr;
}

ProblemPtr HttpBodyReader::take(char c) {
  switch (state_) {
    case State::kSize:
      return take_size(c);
    case State::kExtension:
      return take_extension(c);
    case State::kSizeEnd:
      if (c != '\n') return violation("an LF behind the CR", c);
      return end_size_line();
    case State::kContentCr:
      return expect(c, '\r', State::kContentEnd);
    case State::kContentEnd:
      digits_ = 0;
      return expect(c, '\n', State::kSize);
    case State::kLastEnd:
      return expect(c, '\n', State::kDone);
    default:
      return take_trailer(c);
  }
}

ProblemPtr HttpBodyReader::take_size(char c) {
  if (http::is_a(c, http::kHexChar)) {
    if (++digits_ > kSizeDigitsMax) return violation("a chunk size of at most 16 digits", c);
    constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
    left_ = left_ > kMax >> 4 ? kMax : left_ << 4 | hex_value(c);
    return nullptr;
  }
  if (digits_ == 0) return violation("a chunk size in hexadecimal digits", c);
  if (c == ';') {
    state_ = State::kExtension;
    return take_extension(c);
  }
  if (c != '\r') return violation("a chunk size in hexadecimal digits", c);
  state_ = State::kSizeEnd;
  return nullptr;
}

ProblemPtr HttpBodyReader::take_extension(char c) {
  if (c == '\r') {
    state_ = State::kSizeEnd;
    return nullptr;
  }
  if (http::is_control(c)) return violation("no control byte in a chunk extension", c);
  if (++extension_bytes_ > kExtensionBytesMax) {
    return too_many(std::to_string(kExtensionBytesMax) + " bytes of chunk extensions");
  }
  return nullptr;
}

ProblemPtr HttpBodyReader::end_size_line() {
  if (left_ > body_bytes_max_ - total_) return body_too_large(body_bytes_max_);
  if (left_ == 0) {
    state_ = State::kTrailerBegin;
    return nullptr;
  }
  if (++chunk_count_ > kChunksMax) return too_many(std::to_string(kChunksMax) + " chunks");
  total_ += left_;
  state_ = State::kContent;
  return nullptr;
}

ProblemPtr HttpBodyReader::take_trailer(char c) {
  if (state_ == State::kTrailerBegin && c == '\r') {
    state_ = State::kLastEnd;
    return nullptr;
  }
  if (--trailer_bytes_left_ < 0) return trailers_too_large();
  switch (state_) {
    case State::kTrailerBegin:
      if (--trailers_left_ < 0) return trailers_too_large();
      state_ = State::kTrailerName;
      if (http::is_a(c, http::kTokenChar)) return nullptr;
      return violation("a trailer's name", c);
    case State::kTrailerName:
      if (c == ':') {
        state_ = State::kTrailerValue;
      } else if (!http::is_a(c, http::kTokenChar)) {
        return violation("a trailer's name and a colon", c);
      }
      return nullptr;
    case State::kTrailerValue:
      if (c == '\r') {
        state_ = State::kTrailerEnd;
      } else if (http::is_control(c)) {
        return violation("no control byte in a trailer", c);
      }
      return nullptr;
    default:  // kTrailerEnd
      return expect(c, '\n', State::kTrailerBegin);
  }
}

}  // namespace pelton
