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

// Not thread-safe. 64 bytes or so.
class HttpBodyReader {
 public:
  // Begins a body. `body_bytes_max` bounds what chunks may add up to (a Content-Length over it is
  // for the caller to refuse at the head).
  void begin(const HttpHead& head, int64_t body_bytes_max);

  struct Step {
    size_t consumed = 0;       // of `bytes`; framing included
    std::string_view content;  // a part of the body, within the consumed bytes
    bool is_done = false;      // the body is complete
    ProblemPtr problem;        // a violation (400), or kPayloadTooLarge
  };
  // Reads from the front of `bytes` up to the next piece of content. Call until it is done, has a
  // problem, or consumed nothing (more bytes are needed).
  Step read(std::string_view bytes);

  // kLength: what is still to come. kChunked: 0.
  int64_t bytes_left() const;

 private:
  // Free for its author to change.
  int64_t left_ = 0;
};

}  // namespace pelton
