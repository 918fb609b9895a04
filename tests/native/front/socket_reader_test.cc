// Reading of sockets: what arrives when, in what pieces, and the ends of connections.
#include "csrc/front/socket_reader.h"

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "tests/native/front/fixture.h"

namespace pelton {
namespace {

// A connection over one end of a pair of sockets; the test has the other end. Answers go to
// `transport.written`.
class SocketClient {
 public:
  SocketClient(FrontFixture& fixture, SocketReader& reader)
      : reader_(reader), connection(fixture.front, transport) {
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends_.data()), 0);
    connection.opened();
    socket = {&connection, &transport, ends_[0]};
    EXPECT(reader.add(socket).ok());
  }
  ~SocketClient() {
    reader_.remove(socket);
    connection.lost();
    close(ends_[0]);
    if (ends_[1] >= 0) close(ends_[1]);
  }
  SocketClient(const SocketClient&) = delete;
  SocketClient& operator=(const SocketClient&) = delete;

  void send(std::string_view bytes) {
    EXPECT_EQ(::send(ends_[1], bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT),
              std::ssize(bytes));
  }
  void finish() { shutdown(ends_[1], SHUT_WR); }
  int other_end() const { return ends_[1]; }
  void leave() { close(std::exchange(ends_[1], -1)); }
  size_t answers() const {
    size_t found = 0;
    for (size_t at = 0; (at = transport.written.find("HTTP/1.1 200", at)) != std::string::npos;
         ++at) {
      ++found;
    }
    return found;
  }

 private:
  std::array<int, 2> ends_{-1, -1};
  SocketReader& reader_;

 public:
  FakeTransport transport;
  Connection connection;
  SocketReader::Socket socket;
};

bool is_ready(const SocketReader& reader) {
  pollfd poller{reader.fd(), POLLIN, 0};
  return poll(&poller, 1, 0) > 0;
}

// Turns of a loop, until `done`, which must come true.
void turn_until(const FrontFixture& fixture, SocketReader& reader,
                const std::function<bool()>& done) {
  const Nanos end = fixture.front.now() + 60'000'000'000;  // only a hang reaches it
  while (!done() && fixture.front.now() < end) {
    pollfd poller{reader.fd(), POLLIN, 0};
    poll(&poller, 1, 10);
    reader.read_ready();
  }
  EXPECT(done());
}

TEST(socket_reader_answers_all_that_is_ready_in_one_call) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  std::array<std::unique_ptr<SocketClient>, 5> clients;
  for (auto& client : clients) {
    client = std::make_unique<SocketClient>(fixture, reader);
    client->send(infer_json());
  }
  EXPECT(is_ready(reader));
  reader.read_ready();
  EXPECT_EQ(fixture.hooks.turn_ends, 0);  // the call is its own turn
  turn_until(fixture, reader, [&] {
    return std::all_of(clients.begin(), clients.end(),
                       [](const auto& client) { return client->answers() == 1; });
  });
  EXPECT(!is_ready(reader));
}

TEST(socket_reader_takes_completions_of_the_engine) {
  FrontFixture fixture(engine_only());
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  client.send(infer_json());
  turn_until(fixture, reader, [&] { return client.answers() == 1; });
}

TEST(socket_reader_reads_bytes_as_they_come) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  for (const char byte : infer_json()) {
    client.send({&byte, 1});
    reader.read_ready();
  }
  turn_until(fixture, reader, [&] { return client.answers() == 1; });
}

TEST(socket_reader_sees_the_end_behind_bytes_that_came_with_it) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  client.send(infer_json());
  client.finish();
  turn_until(fixture, reader, [&] { return client.transport.is_closed; });
  EXPECT_EQ(client.answers(), 1u);
  EXPECT(!is_ready(reader));
}

TEST(socket_reader_closes_what_ends_without_a_request) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  client.leave();
  reader.read_ready();
  EXPECT(client.transport.is_closed);
}

// A close with bytes unread resets a connection.
TEST(socket_reader_aborts_what_was_reset) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  EXPECT_EQ(::send(client.socket.fd, "x", 1, 0), 1);
  client.leave();
  reader.read_ready();
  EXPECT(client.transport.is_aborted);
}

TEST(socket_reader_aborts_what_is_reset_after_its_end) {
  Latch latch;
  FrontFixture fixture(engine_only());
  fixture.runner->before = [&] { latch.wait(); };
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  client.send(infer_json());
  client.finish();
  reader.read_ready();
  EXPECT(!client.transport.is_closed);  // its answer is due
  EXPECT_EQ(::send(client.socket.fd, "x", 1, 0), 1);
  client.leave();
  reader.read_ready();
  EXPECT(client.transport.is_aborted);
  latch.open();
}

TEST(socket_reader_leaves_what_is_paused_and_reads_it_afterwards) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  reader.pause(client.socket);
  client.send(infer_json());
  client.finish();
  reader.read_ready();
  EXPECT_EQ(fixture.front.stats().accepted, 0u);
  reader.resume(client.socket);
  EXPECT(is_ready(reader));
  turn_until(fixture, reader, [&] { return client.transport.is_closed; });
  EXPECT_EQ(client.answers(), 1u);
}

// More than is read of one socket in a turn: the rest is not forgotten, and others are not kept
// waiting for it.
TEST(socket_reader_comes_back_to_a_socket_with_more_than_its_share) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient large(fixture, reader);
  SocketClient small(fixture, reader);
  std::string text = post("/v2/models/m/infer", std::string(size_t{16} << 20, ' '));
  size_t sent = 0;
  const auto send_more = [&] {
    const int other_end = large.other_end();
    for (ssize_t count = 0; sent < text.size() && count >= 0;
         sent += count > 0 ? static_cast<size_t>(count) : 0) {
      count = ::send(other_end, text.data() + sent, text.size() - sent, MSG_DONTWAIT);
    }
  };
  send_more();
  small.send(infer_json());
  turn_until(fixture, reader, [&] {
    send_more();
    return fixture.front.stats().answered == 2;
  });
  EXPECT_EQ(small.answers(), 1u);
  EXPECT_EQ(sent, text.size());
}

// What one event brings about may end another connection, whose event comes next.
TEST(socket_reader_drops_the_events_of_what_was_removed) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient first(fixture, reader);
  SocketClient second(fixture, reader);
  first.transport.on_forward = [&] { reader.remove(second.socket); };
  second.transport.on_forward = [&] { reader.remove(first.socket); };
  first.send("GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n");
  second.send("GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n");
  reader.read_ready();
  EXPECT_EQ(fixture.front.stats().forwarded, 1u);
}

// The copies in a forked child end; the parent goes on as if nothing had been.
TEST(socket_reader_of_a_child_leaves_the_sockets_of_its_parent) {
  FrontFixture fixture;
  SocketReader reader(fixture.front);
  SocketClient client(fixture, reader);
  const pid_t child = fork();
  if (child == 0) {
    client.send(infer_json());
    reader.read_ready();
    reader.pause(client.socket);
    reader.remove(client.socket);
    _exit(fixture.front.stats().accepted == 0 ? 0 : 1);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  turn_until(fixture, reader, [&] { return client.answers() == 1; });
}

}  // namespace
}  // namespace pelton
