// An HTTP server in native code only: the request path driven by an epoll loop of its own. It shows
// that parser, codecs, connections and gates know no Python, and what a server without Python's
// loop would be.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <unordered_map>

#include "csrc/front/socket_reader.h"
#include "tests/native/front/fixture.h"

namespace pelton {

// A socket with a write buffer. Closes itself through the loop, never in the middle of a call.
class EpollTransport final : public Transport {
 public:
  EpollTransport(int epoll, int fd, SocketReader& reader, Connection& connection)
      : epoll_(epoll), fd_(fd), reader_(reader), socket_{&connection, this, fd} {
    update(EPOLL_CTL_ADD);
    EXPECT(reader_.add(socket_).ok());
  }
  ~EpollTransport() override {
    reader_.remove(socket_);
    ::close(fd_);
  }

  void write(std::string_view bytes) override {
    pending_ += bytes;
    flush();
    if (pending_.size() <= kBlockedBytes || is_blocked_) return;
    is_blocked_ = true;
    socket_.connection->pause_writing();
  }
  void forward(std::string_view) override { EXPECT(false); }  // nobody else is here
  bool take_back() override { return false; }
  void probe_forwarded() override { EXPECT(false); }
  void pause_reading() override { reader_.pause(socket_); }
  void resume_reading() override { reader_.resume(socket_); }
  void finish_writing() override { finishes_ = true, flush(); }
  void close() override { closes_ = true; }
  void abort() override { closes_ = true, pending_.clear(); }
  size_t unsent_bytes() const override { return pending_.size(); }
  bool is_reset() const override { return false; }

  void flush() {
    while (!pending_.empty()) {
      const ssize_t sent = send(fd_, pending_.data(), pending_.size(), MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EAGAIN) break;
        pending_.clear();
        closes_ = true;
        return;
      }
      pending_.erase(0, static_cast<size_t>(sent));
    }
    if (pending_.empty() && finishes_) shutdown(fd_, SHUT_WR);
    update(EPOLL_CTL_MOD);
  }
  // The socket takes bytes again.
  void on_writable() {
    flush();
    if (!is_blocked_ || pending_.size() > kBlockedBytes) return;
    is_blocked_ = false;
    socket_.connection->resume_writing();
  }
  bool is_over() const { return closes_ && pending_.empty(); }

 private:
  static constexpr size_t kBlockedBytes = size_t{64} << 10;

  void update(int operation) {
    epoll_event event{};
    event.events = pending_.empty() ? 0u : EPOLLOUT;
    event.data.fd = fd_;
    epoll_ctl(epoll_, operation, fd_, &event);
  }

  const int epoll_;
  const int fd_;
  SocketReader& reader_;
  SocketReader::Socket socket_;
  std::string pending_;
  bool is_blocked_ = false;
  bool finishes_ = false;
  bool closes_ = false;
};

class EpollFront {
 public:
  EpollFront()
      : epoll_(epoll_create1(0)), listener_(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(listener_, 64), 0);
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    watch(listener_);
    watch(reader_.fd());
    watch(stop_);
  }
  ~EpollFront() {
    connections_.clear();
    ::close(listener_);
    ::close(stop_);
    ::close(epoll_);
  }

  int port() const { return port_; }
  FrontFixture& fixture() { return fixture_; }
  void stop() {
    const uint64_t one = 1;
    EXPECT_EQ(::write(stop_, &one, sizeof(one)), 8);
  }

  // Until stop().
  void run() {
    int turn_ends = 0;
    for (bool goes_on = true; goes_on;) {
      std::array<epoll_event, 64> events;
      const int timeout_ms = fixture_.hooks.turn_ends > turn_ends ? 0 : -1;
      turn_ends = fixture_.hooks.turn_ends;
      const int count =
          epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
      for (int i = 0; i < count; ++i) {
        const int fd = events[static_cast<size_t>(i)].data.fd;
        if (fd == stop_) {
          goes_on = false;
        } else if (fd == listener_) {
          accept_all();
        } else if (fd == reader_.fd()) {
          reader_.read_ready();
        } else {
          handle(fd);
        }
      }
      fixture_.front.end_turn();  // one wake-up of the worker for what this turn brought
      std::erase_if(connections_, [](const auto& entry) { return entry.second->is_over(); });
    }
  }

 private:
  struct Peer {
    Peer(Front& front, SocketReader& reader, int epoll, int fd)
        : transport(epoll, fd, reader, connection), connection(front, transport) {
      connection.opened();
    }
    ~Peer() { connection.lost(); }
    bool is_over() const { return transport.is_over(); }
    EpollTransport transport;
    Connection connection;
  };

  void watch(int fd) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    EXPECT_EQ(epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event), 0);
  }
  void accept_all() {
    for (;;) {
      const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      const int one = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
      connections_[fd] = std::make_unique<Peer>(fixture_.front, reader_, epoll_, fd);
    }
  }
  // It may be written.
  void handle(int fd) {
    const auto found = connections_.find(fd);
    if (found != connections_.end()) found->second->transport.on_writable();
  }

  FrontFixture fixture_;
  SocketReader reader_{fixture_.front};
  const int epoll_;
  const int listener_;
  const int stop_ = eventfd(0, 0);
  int port_ = 0;
  std::unordered_map<int, std::unique_ptr<Peer>> connections_;
};

}  // namespace pelton
