// What the request path asks of whoever owns the sockets and the loop: an adapter of uvloop's
// transport, or a plain epoll loop in a test.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "csrc/base/clock.h"

namespace pelton {

// One connection, as its owner sees it. None of these may call back into the Connection but
// write(), which may pause writing.
class Transport {
 public:
  virtual ~Transport() = default;
  // Takes the bytes, whole.
  virtual void write(std::string_view bytes) = 0;
  // Hands bytes of a message that is not taken to the other protocol.
  virtual void forward(std::string_view bytes) = 0;
  // The message that is being handed over will be answered here. False: the other protocol has
  // begun to answer it.
  virtual bool take_back() = 0;
  // Sends an interim answer, unless the other protocol's answer has begun.
  virtual void probe_forwarded() = 0;
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // Tells the peer that nothing more comes, when all that was written is out; reading goes on. Does
  // nothing where that cannot be said (TLS).
  virtual void finish_writing() = 0;
  // Closes when all that was written is out.
  virtual void close() = 0;
  // Closes at once.
  virtual void abort() = 0;
  // Of what was written, what the peer's side has not taken yet.
  virtual size_t unsent_bytes() const = 0;
  // Whether the peer has reset the connection, which nobody notices who does not read.
  virtual bool is_reset() const = 0;
};

// The loop that the request path runs on.
class LoopHooks {
 public:
  virtual ~LoopHooks() = default;
  // Calls Front::end_turn() once, when the events of this turn have been handled.
  virtual void call_at_turn_end() = 0;
  // Calls Front::on_timer() at that time; replaces an earlier call.
  virtual void call_at(Nanos when) = 0;
  // Compresses an answer's body off the loop, then calls Front::on_compressed().
  virtual void compress(uint64_t job_number, std::string_view coding, std::string_view body) = 0;
  // For the log: a client that went away, and a failure that callers are not told of.
  virtual void log_client_gone(std::string_view path, std::string_view request_id) = 0;
  virtual void log_failure(std::string_view path, std::string_view request_id,
                           std::string_view message) = 0;
};

}  // namespace pelton
