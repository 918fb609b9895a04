// Random clients, replayable from the seed: requests cut anywhere, sent in any order of events, and
// clients that leave at any moment. Whatever they do, every request that was taken ends, answers
// keep the order of the requests, and nothing stays held.
#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/native/front/fixture.h"

namespace pelton {
namespace {

enum class Kind {
  kGood,
  kLarge,
  kBad,
  kUnknown,
  kChunked,
  kForwarded,
  kDeadline,
  kLast,
  kViolation
};

class RandomClient {
 public:
  RandomClient(FrontFixture& fixture, std::mt19937_64& random)
      : fixture_(fixture), random_(random), client_(std::make_unique<Client>(fixture)) {
    for (auto count = pick(12) + 1; count > 0; --count) append_message();
  }

  // One event of many that may happen. False: it is over.
  bool step() {
    if (client_ == nullptr) return false;
    FakeTransport& transport = client_->transport;
    if (transport.is_closed || transport.is_aborted) return leave();
    switch (pick(12)) {
      case 0:
        if (pick(40) == 0) return leave();
        break;
      case 1:
        toggle(is_writing_paused_, [&](bool paused) {
          paused ? client_->connection.pause_writing() : client_->connection.resume_writing();
        });
        break;
      case 2:
        toggle(is_forward_paused_,
               [&](bool paused) { client_->connection.set_forward_paused(paused); });
        break;
      case 3:
        client_->connection.check_time(fixture_.front.now());
        break;
      case 4:
      case 5:
        answer_forwarded();
        break;
      case 6:
        if (sent_ == text_.size() && !is_eof_) {
          is_eof_ = true;
          if (!client_->connection.received_eof()) transport.is_closed = true;
        }
        break;
      default:
        send();
        break;
    }
    return true;
  }

  // Takes everything and lets it come to its end.
  bool finish() {
    if (client_ == nullptr) return false;
    FakeTransport& transport = client_->transport;
    if (transport.is_closed || transport.is_aborted) return leave();
    if (is_writing_paused_) client_->connection.resume_writing();
    if (is_forward_paused_) client_->connection.set_forward_paused(false);
    is_writing_paused_ = is_forward_paused_ = false;
    answer_forwarded();
    if (sent_ < text_.size()) {
      send();
    } else if (!is_eof_) {
      is_eof_ = true;
      if (!client_->connection.received_eof()) transport.is_closed = true;
    } else if (transport.is_finished) {
      transport.is_closed = true;  // the peer has seen the end
    }
    return true;
  }

 private:
  size_t pick(size_t count) { return static_cast<size_t>(random_() % count); }
  template <typename Call>
  void toggle(bool& state, const Call& call) {
    state = !state;
    call(state);
  }

  void append_message() {
    const auto kind = static_cast<Kind>(pick(pick(8) == 0 ? 9 : 7));
    const std::string id = "X-Request-Id: r" + std::to_string(id_++) + "\r\n";
    switch (kind) {
      case Kind::kGood:
        text_ += infer_json(1, id);
        break;
      case Kind::kLarge:
        text_ += post("/v2/models/m/infer",
                      "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[200,4],"
                      "\"data\":[" +
                          many(800) + "]}]}",
                      id);
        break;
      case Kind::kBad:
        text_ += post("/v2/models/m/infer", "{\"inputs\":[" + std::string(pick(300), '['), id);
        break;
      case Kind::kUnknown:
        text_ += post("/v2/models/none/infer", std::string(pick(300), 'x'), id);
        break;
      case Kind::kChunked:
        append_chunked(id);
        break;
      case Kind::kForwarded:
        text_ += pick(2) == 0 ? "GET /v2 HTTP/1.1\r\nHost: h\r\n\r\n"
                              : post("/echo", std::string(pick(5000), 'e'));
        break;
      case Kind::kDeadline:
        text_ += infer_json(1, id + "Pelton-Deadline-Ms: 1\r\n");
        break;
      case Kind::kLast:
        text_ += infer_json(1, id + "Connection: close\r\n");
        break;
      case Kind::kViolation:
        text_ += "BAD \x01\r\n\r\n";
        break;
    }
  }
  static std::string many(int count) {
    std::string numbers = "0";
    for (int i = 1; i < count; ++i) numbers += ",1";
    return numbers;
  }
  void append_chunked(std::string_view id) {
    const std::string whole = infer_json(1);
    std::string_view body = whole;
    body.remove_prefix(whole.find("\r\n\r\n") + 4);
    text_ += "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";
    text_ += id;
    text_ += "\r\n";
    while (!body.empty()) {
      const std::string_view piece = body.substr(0, pick(15) + 1);
      body.remove_prefix(piece.size());
      text_ += (piece.size() < 10 ? "0" : "") + std::string(1, "0123456789abcdef"[piece.size()]);
      text_ += "\r\n" + std::string(piece) + "\r\n";
    }
    text_ += "0\r\n\r\n";
  }

  void send() {
    if (client_->transport.is_reading_paused || is_eof_) return;
    const size_t size = std::min(text_.size() - sent_, pick(pick(2) == 0 ? 8 : 3000) + 1);
    if (size == 0) return;
    client_->connection.received(std::string_view(text_).substr(sent_, size));
    sent_ += size;
  }

  // As the other protocol would: once for each whole message that it was given.
  void answer_forwarded() {
    std::string& forwarded = client_->transport.forwarded;
    const size_t head = forwarded.find("\r\n\r\n");
    if (head == std::string::npos) return;
    const size_t length = forwarded.find("Content-Length: ");
    const size_t body = length < head ? std::stoul(forwarded.substr(length + 16)) : 0;
    if (forwarded.size() < head + 4 + body) return;
    EXPECT_EQ(forwarded.size(), head + 4 + body);  // never parts of two
    forwarded.clear();
    client_->connection.forwarded_answered();
  }

  bool leave() {
    check_order();
    client_.reset();
    return false;
  }
  void check_order() const {
    const std::string& written = client_->transport.written;
    int last = -1;
    for (size_t at = written.find("request-id: r"); at != std::string::npos;
         at = written.find("request-id: r", at + 1)) {
      const int id = std::stoi(written.substr(at + 13));
      EXPECT(id > last);
      last = id;
    }
  }

  FrontFixture& fixture_;
  std::mt19937_64& random_;
  std::unique_ptr<Client> client_;
  std::string text_;
  size_t sent_ = 0;
  int id_ = 0;
  bool is_eof_ = false;
  bool is_writing_paused_ = false;
  bool is_forward_paused_ = false;
};

void run_clients(uint64_t seed) {
  std::mt19937_64 random(seed);
  FrontOptions options;
  options.offload_bytes_min = random() % 2 == 0 ? 1 << 18 : 600;
  options.help_budget = random() % 2 == 0 ? 0 : 1'000'000;
  options.bodies_bytes_max = random() % 4 == 0 ? 4000 : 1 << 30;
  FrontFixture fixture(options);
  std::vector<RandomClient> clients;
  for (int i = 0; i < 8; ++i) clients.emplace_back(fixture, random);
  const auto turn = [&](int wait_ms = 0) {
    fixture.front.end_turn();
    fixture.front.on_timer();
    pollfd poller{fixture.front.fd(), POLLIN, 0};
    if (poll(&poller, 1, wait_ms) > 0) fixture.front.on_completions();
  };
  for (int i = 0; i < 600; ++i) {
    clients[random() % clients.size()].step();
    if (random() % 4 == 0) turn();
  }
  const Nanos start = fixture.front.now();
  const auto is_over = [&] {
    bool any = false;
    for (RandomClient& client : clients) any = client.finish() || any;
    turn(any ? 0 : 1);
    const FrontStats stats = fixture.front.stats();
    return !any && stats.accepted == stats.answered && stats.body_bytes == 0;
  };
  bool over = false;
  while (!over && fixture.front.now() < start + 20'000'000'000) over = is_over();
  EXPECT(over);
  EXPECT_EQ(fixture.front.connection_count(), 0u);
  EXPECT(fixture.hooks.failures.empty());
  if (!over) testing::note("seed " + std::to_string(seed));
}

TEST(front_ends_every_request_of_random_clients) {
  for (uint64_t i = 0; i < 60; ++i) run_clients(testing::seed() * 1000 + i);
}

}  // namespace
}  // namespace pelton
