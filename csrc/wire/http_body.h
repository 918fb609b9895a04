// The body of an HTTP/1.1 request as it comes: by Content-Length or in chunks (RFC 9112, section
// 7.1), strict: chunk sizes are 1 to 16 hexadecimal digits, extensions 256 bytes in all, 65,536
// chunks, trailers are read within the limits of a head and dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "csrc/base/problem.h"
#include "csrc/wire/http_head.h"

namespace pelton {

// Not thread-safe. 56 bytes, no memory of its own. What it answers does not depend on how the bytes
// are cut into calls.
class HttpBodyReader {
 public:
  static constexpr int kSizeDigitsMax = 16;
  static constexpr int kExtensionBytesMax = 256;  // of all chunks of a body
  static constexpr int kChunksMax = 65'536;       // without the last, empty one

  // Begins a body. `body_bytes_max` bounds what chunks may add up to (a Content-Length over it is
  // for the caller to refuse at the head); of `limits` those of fields are for the trailers.
  void begin(const HttpHead& head, int64_t body_bytes_max, const HttpLimits& limits = {});

  struct Step {
    size_t consumed = 0;       // of `bytes`; framing included
    std::string_view content;  // a part of the body, within the consumed bytes
    bool is_done = false;  // the body is complete; bytes behind `consumed` are another request's
    // A violation (400), kPayloadTooLarge, or kHeadersTooLarge for trailers; `consumed` ends behind
    // the byte at fault.
    ProblemPtr problem;
  };
  // Reads from the front of `bytes` up to the next piece of content. Call until it is done, has a
  // problem, or consumed nothing (more bytes are needed). A body of no bytes is done at the first
  // call, which may bring none. REQUIRES: it had no problem since begin().
  Step read(std::string_view bytes);

  // kLength: what is still to come. kChunked: 0.
  int64_t bytes_left() const { return is_chunked() ? 0 : left_; }

 private:
  // What the next byte belongs to.
  enum class State : uint8_t {
    kLength,  // the body itself, not in chunks
    kSize,
    kExtension,
    kSizeEnd,  // the LF of the line
    kContent,
    kContentCr,
    kContentEnd,
    kTrailerBegin,
    kTrailerName,
    kTrailerValue,
    kTrailerEnd,
    kLastEnd,  // the LF of the empty line
    kDone,
  };

  bool is_chunked() const { return state_ != State::kLength; }
  // Takes one byte of what is not content.
  ProblemPtr take(char c);
  ProblemPtr take_size(char c);
  ProblemPtr take_extension(char c);
  ProblemPtr take_trailer(char c);
  ProblemPtr end_size_line();
  ProblemPtr expect(char c, char expected, State next);

  int64_t left_ = 0;  // kLength: of the body. Else of the chunk
  int64_t total_ = 0;
  int64_t body_bytes_max_ = 0;
  int64_t trailer_bytes_left_ = 0;
  int trailers_left_ = 0;
  int chunk_count_ = 0;
  int16_t extension_bytes_ = 0;
  int8_t digits_ = 0;
  State state_ = State::kLength;
};

}  // namespace pelton
