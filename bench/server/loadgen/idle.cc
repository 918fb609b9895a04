#include "bench/server/loadgen/idle.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <vector>

#include "bench/server/loadgen/load.h"
#include "bench/server/loadgen/reply_reader.h"
#include "bench/server/loadgen/sockets.h"

namespace pelton::bench {
namespace {

constexpr int kAnswerMsMax = 30'000;
constexpr int kPollMs = 100;

Status greet(int fd, const std::string& request) {
  if (send(fd, request.data(), request.size(), MSG_NOSIGNAL) != ssize_t(request.size())) {
    return internal_error("idle: a request could not be sent whole");
  }
  ReplyReader reply;
  char bytes[16 * 1024];
  while (true) {
    pollfd waiting = {fd, POLLIN, 0};
    if (poll(&waiting, 1, kAnswerMsMax) != 1) return internal_error("idle: no answer in time");
    const ssize_t count = recv(fd, bytes, sizeof(bytes), 0);
    if (count <= 0) return internal_error("idle: closed before the answer");
    const auto progress = reply.feed({bytes, static_cast<size_t>(count)});
    if (progress.state == ReplyReader::State::kMalformed || reply.closes()) {
      return internal_error("idle: the server does not keep connections");
    }
    if (progress.state == ReplyReader::State::kComplete) return Status();
  }
}

Status open_all(const IdleOptions& options, std::vector<int>& sockets) {
  PELTON_RETURN_IF_ERROR(allow_descriptors(options.connections));
  for (int i = 0; i < options.connections; ++i) {
    Result<int> fd = connect_now(options.address);
    if (!fd.ok()) return fd.status();
    sockets.push_back(fd.value());
    if (!options.request.empty()) PELTON_RETURN_IF_ERROR(greet(fd.value(), options.request));
  }
  return Status();
}

bool closed_by_peer(int fd) {
  char byte;
  const ssize_t count = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count == 0 || (count < 0 && errno != EAGAIN);
}

}  // namespace

Status run_idle(const IdleOptions& options) {
  std::vector<int> sockets;
  const Status opened = open_all(options, sockets);
  if (opened.ok()) {
    std::printf("{\"open\": %zu}\n", sockets.size());
    std::fflush(stdout);
    pollfd input = {STDIN_FILENO, POLLIN, 0};
    while (!stop_requested.load(std::memory_order_relaxed)) {
      if (poll(&input, 1, kPollMs) != 1) continue;
      char bytes[64];
      if (read(STDIN_FILENO, bytes, sizeof(bytes)) <= 0) break;
    }
    int closed = 0;
    for (const int fd : sockets) closed += closed_by_peer(fd) ? 1 : 0;
    std::printf("{\"closed_by_server\": %d}\n", closed);
  }
  for (const int fd : sockets) close(fd);
  return opened;
}

}  // namespace pelton::bench
