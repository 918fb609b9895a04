#include "bench/server/loadgen/sockets.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

namespace pelton::bench {
namespace {

constexpr int kConnectMsMax = 10'000;
constexpr int kSpareDescriptors = 32;

}  // namespace

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

Result<sockaddr_in> parse_address(const std::string& host, int port) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return invalid_argument("--host: expected an IPv4 address such as 127.0.0.1, got " + host);
  }
  return address;
}

int begin_connect(const sockaddr_in& address) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return -errno;
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 &&
      errno != EINPROGRESS) {
    const int error = errno;
    close(fd);
    return -error;
  }
  return fd;
}

Result<int> connect_now(const sockaddr_in& address) {
  const int fd = begin_connect(address);
  int error = fd < 0 ? -fd : 0;
  if (error == 0) {
    pollfd waiting = {fd, POLLOUT, 0};
    if (poll(&waiting, 1, kConnectMsMax) != 1) {
      error = ETIMEDOUT;
    } else {
      socklen_t size = sizeof(error);
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    if (error != 0) close(fd);
  }
  if (error == 0) return fd;
  return Status(StatusCode::kUnavailable, std::string("cannot connect: ") + std::strerror(error));
}

Status allow_descriptors(int count) {
  const auto needed = static_cast<rlim_t>(count + kSpareDescriptors);
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return Status();
  if (limit.rlim_cur >= needed) return Status();
  if (limit.rlim_max < needed) {
    return invalid_argument(std::to_string(count) + " connections need " + std::to_string(needed) +
                            " open files, but the hard limit (ulimit -Hn) is " +
                            std::to_string(limit.rlim_max));
  }
  limit.rlim_cur = needed;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return Status();
  return invalid_argument(std::string("cannot raise ulimit -n: ") + std::strerror(errno));
}

}  // namespace pelton::bench
