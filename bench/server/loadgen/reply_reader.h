// Reads one HTTP/1.1 answer at a time: its status, Content-Length and whether the connection is to
// be closed. Interim answers (1xx) are passed over. An answer without Content-Length is malformed
// here: what this client measures sends one. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace pelton::bench {

class ReplyReader {
 public:
  enum class State { kIncomplete, kComplete, kMalformed };

  struct Progress {
    State state = State::kIncomplete;
    size_t consumed = 0;  // bytes of the argument that belong to this answer
  };

  // After kComplete or kMalformed the next call must be reset().
  Progress feed(std::string_view bytes);
  void reset();

  // Of a complete answer.
  int status() const { return status_; }
  bool closes() const { return closes_; }
  // The bytes so far of an answer that is malformed, for messages.
  const std::string& head() const { return head_; }

 private:
  Progress feed_head(std::string_view bytes);
  bool parse_head(std::string_view head);
  bool parse_field(std::string_view line);

  std::string head_;
  bool in_body_ = false;
  bool closes_ = false;
  int status_ = 0;
  int64_t body_left_ = 0;
};

}  // namespace pelton::bench
