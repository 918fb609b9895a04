#include "csrc/front/socket_reader.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/concurrency/fork.h"
#include "csrc/front/front.h"

namespace pelton {
namespace {

constexpr size_t kBufferBytes = size_t{256} << 10;
// Of one socket before the others have their turn.
constexpr int kReadsMax = 4;
// Turns go on for so long while there is something to read: each return to a Python loop costs two
// waits for the interpreter's lock where another thread wants it too.
constexpr Nanos kTurnsMax = 500'000;
constexpr uint32_t kReading = EPOLLIN | EPOLLRDHUP | EPOLLET;

}  // namespace

SocketReader::SocketReader(Front& front)
    : front_(front),
      fork_generation_(pelton::fork_generation()),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      buffer_(new char[kBufferBytes]) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.ptr = nullptr;  // the completions
  if (epoll_ >= 0) PELTON_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, front.fd(), &event) == 0);
}

SocketReader::~SocketReader() {
  if (epoll_ >= 0) close(epoll_);
}

Status SocketReader::status() const {
  if (epoll_ >= 0) return Status();
  return Status(StatusCode::kUnavailable,
                "no epoll instance could be made: the process has too many open files");
}

Status SocketReader::add(Socket& socket) {
  epoll_event event{};
  event.events = kReading;
  event.data.ptr = &socket;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, socket.fd, &event) == 0) return Status();
  const std::string why = std::system_category().message(errno);
  socket.fd = -1;
  return Status(StatusCode::kUnavailable, "the socket cannot be watched: " + why);
}

void SocketReader::remove(Socket& socket) {
  const int fd = std::exchange(socket.fd, -1);
  if (fd < 0 || is_forked()) return;
  epoll_event unused{};
  epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, &unused);
  for (int i = 0; i < event_count_; ++i) {
    epoll_event& event = events_[static_cast<size_t>(i)];
    // Its event may still be to come in this turn.
    if (event.data.ptr == &socket) event.events = 0;
  }
}

void SocketReader::pause(Socket& socket) {
  socket.is_paused = true;
  watch(socket, EPOLLET);
}

// Looks at the socket anew: bytes that came meanwhile are an event.
void SocketReader::resume(Socket& socket) {
  socket.is_paused = false;
  watch(socket, kReading);
}

void SocketReader::watch(Socket& socket, uint32_t events) {
  if (socket.fd < 0 || is_forked()) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = &socket;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, socket.fd, &event);
}

// A child's descriptor is the parent's epoll instance: what it changed there the parent would miss.
bool SocketReader::is_forked() const { return pelton::fork_generation() != fork_generation_; }

void SocketReader::read_ready() {
  if (is_forked()) return;
  const Nanos end = front_.now() + kTurnsMax;
  while (read_turn() && front_.now() < end) {
  }
}

// False: nothing was ready.
bool SocketReader::read_turn() {
  event_count_ = std::max(epoll_wait(epoll_, events_.data(), kEventsMax, 0), 0);
  if (event_count_ == 0) return false;
  front_.begin_turn();
  for (int i = 0; i < event_count_; ++i) {
    const epoll_event& event = events_[static_cast<size_t>(i)];
    if (event.events == 0) continue;
    if (event.data.ptr == nullptr) {
      front_.on_completions();
    } else {
      handle(*static_cast<Socket*>(event.data.ptr), event.events);
    }
  }
  event_count_ = 0;
  front_.end_turn();
  return true;
}

void SocketReader::handle(Socket& socket, uint32_t events) {
  if (socket.is_eof) {
    if ((events & EPOLLERR) != 0) socket.transport->abort();
  } else if (!socket.is_paused) {
    // What a peer sent before it finished is followed by no other event.
    read(socket, (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
  }
}

// A read that leaves room in the buffer has emptied the socket, and bytes that come after it are
// another event (epoll(7)).
void SocketReader::read(Socket& socket, bool to_the_end) {
  for (int i = 0; i < kReadsMax; ++i) {
    const ssize_t count = recv(socket.fd, buffer_.get(), kBufferBytes, MSG_DONTWAIT);
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) socket.transport->abort();
      return;
    }
    if (count == 0) {
      socket.is_eof = true;
      if (!socket.connection->received_eof()) socket.transport->close();
      return;
    }
    socket.connection->received({buffer_.get(), static_cast<size_t>(count)});
    if (socket.fd < 0 || socket.is_paused) return;
    if (static_cast<size_t>(count) < kBufferBytes && !to_the_end) return;
  }
  watch(socket, kReading);  // there may be more, for the next turn
}

}  // namespace pelton
