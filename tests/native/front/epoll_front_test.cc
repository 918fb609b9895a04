// The request path with sockets and without Python.
#include "tests/native/front/epoll_front.h"

#include <sys/time.h>

#include <thread>
#include <vector>

namespace pelton {
namespace {

class BlockingClient {
 public:
  explicit BlockingClient(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const timeval patience{60, 0};  // only a hang reaches it
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  ~BlockingClient() { ::close(fd_); }
  BlockingClient(const BlockingClient&) = delete;
  BlockingClient& operator=(const BlockingClient&) = delete;

  void send_all(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      text.remove_prefix(static_cast<size_t>(sent));
    }
  }
  void finish() { shutdown(fd_, SHUT_WR); }
  // Reads until `count` answers begin, or the end.
  size_t read_answers(size_t count) {
    size_t found = 0;
    std::string text;
    std::array<char, 65536> buffer;
    while (found < count) {
      const ssize_t size = recv(fd_, buffer.data(), buffer.size(), 0);
      if (size <= 0) break;
      text.append(buffer.data(), static_cast<size_t>(size));
      found = 0;
      for (size_t at = text.find("200 OK"); at != std::string::npos;
           at = text.find("200 OK", at + 1)) {
        ++found;
      }
    }
    return found;
  }

 private:
  const int fd_;
};

TEST(epoll_front_serves_many_clients_and_abortive_ones) {
  EpollFront server;
  std::thread loop([&] { server.run(); });
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&server, c] {
      for (int round = 0; round < 10; ++round) {
        BlockingClient client(server.port());
        std::string text;
        for (int i = 0; i < 20; ++i) text += infer_json(static_cast<float>(i));
        client.send_all(text);
        if (c % 4 == 3) continue;  // leaves without its answers
        if (c % 4 == 2) client.finish();
        EXPECT_EQ(client.read_answers(20), 20u);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  server.stop();
  loop.join();
}

TEST(epoll_front_keeps_every_answer_for_a_slow_reader) {
  EpollFront server;
  std::thread loop([&] { server.run(); });
  constexpr size_t kCount = 3000;
  BlockingClient client(server.port());
  std::thread sender([&client] {
    std::string text;
    for (size_t i = 0; i < kCount; ++i) text += infer_json(static_cast<float>(i));
    client.send_all(text);
  });
  EXPECT_EQ(client.read_answers(kCount), kCount);
  sender.join();
  server.stop();
  loop.join();
}

}  // namespace
}  // namespace pelton
