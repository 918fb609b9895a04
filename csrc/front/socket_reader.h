// SocketReader: reads the plain sockets of one event loop, all that are ready in one call.
//
// A loop in Python takes the interpreter's lock, makes an object and calls a method for each read.
// This has its own epoll instance, whose descriptor the loop watches: once in a turn the loop calls
// read_ready(), which reads every socket that has bytes, hands them to their connections, has what
// they submitted run or the engine woken, and takes completions, without an object or a call of
// Python's. Sockets are watched edge-triggered, so that one that was read costs no second look.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <memory>

#include "csrc/base/status.h"
#include "csrc/front/connection.h"
#include "csrc/front/transport.h"

namespace pelton {

class Front;

// Used on the loop's thread only. `front` outlives it.
class SocketReader {
 public:
  // One socket, with those who get what is read. Whoever owns the socket owns this too, and removes
  // it before the socket is closed.
  struct Socket {
    Connection* connection = nullptr;
    Transport* transport = nullptr;
    int fd = -1;
    bool is_paused = false;
    bool is_eof = false;
  };

  explicit SocketReader(Front& front);
  ~SocketReader();
  SocketReader(const SocketReader&) = delete;
  SocketReader& operator=(const SocketReader&) = delete;

  // Not ok when the process has no file descriptor left.
  Status status() const;
  // Becomes readable when read_ready() is to be called: for a socket, or the Front's completions.
  int fd() const { return epoll_; }

  // Not ok: the socket is read by someone else still. REQUIRES: it is open and not added.
  Status add(Socket& socket);
  // Does nothing where it is not added.
  void remove(Socket& socket);
  void pause(Socket& socket);
  void resume(Socket& socket);

  // Reads what is ready, in turns of the Front's, for a bounded time.
  void read_ready();

 private:
  static constexpr int kEventsMax = 128;

  bool read_turn();
  bool is_forked() const;
  void handle(Socket& socket, uint32_t events);
  void read(Socket& socket, bool to_the_end);
  void watch(Socket& socket, uint32_t events);

  Front& front_;
  const uint32_t fork_generation_;
  const int epoll_;
  std::array<epoll_event, kEventsMax> events_;
  int event_count_ = 0;  // of the turn under way
  std::unique_ptr<char[]> buffer_;
};

}  // namespace pelton
