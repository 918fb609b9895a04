// Clients that ask for more than they may, stop half-way, or never take what they asked for.
#include <string>

#include "tests/native/front/fixture.h"
#include "tests/native/serve/fakes.h"

namespace pelton {
namespace {

constexpr std::string_view kHealth = "GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n";
constexpr std::string_view kChunkedEcho =
    "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";

// A raw request for a raw answer, of so many rows.
std::string infer_binary(const std::string& model, int64_t rows) {
  const std::string size = std::to_string(rows * kWidth * 4);
  const std::string head = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[" +
                           std::to_string(rows) +
                           ",4],\"parameters\":{\"binary_data_size\":" + size +
                           "}}],\"parameters\":{\"binary_data_output\":true}}";
  return post("/v2/models/" + model + "/infer",
              head + std::string(static_cast<size_t>(rows * kWidth * 4), 0),
              "Inference-Header-Content-Length: " + std::to_string(head.size()) + "\r\n");
}

TEST(front_has_64_requests_of_a_connection_under_way_at_most) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  std::string text;
  for (int i = 0; i < 300; ++i) text += infer_json(1);
  client.connection.received(text);
  EXPECT_EQ(fixture.front.stats().accepted, 64u);
  latch.open();
  fixture.complete_until([&] { return client.answers() == 300; });
}

TEST(front_runs_nothing_behind_a_request_that_closes) {
  FrontFixture fixture(engine_only());
  Client client(fixture);
  client.connection.received(infer_json(1, "Connection: close\r\n") + infer_json(2));
  EXPECT_EQ(fixture.front.stats().accepted, 1u);
  client.connection.received(infer_json(3));
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(fixture.front.stats().accepted, 1u);
  EXPECT(client.transport.is_finished);
}

TEST(front_runs_nothing_behind_a_handed_over_message_that_closes) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(std::string(kHealth) + infer_json(2));
  client.connection.forwarded_answered(true);
  EXPECT(client.transport.is_closed);
  EXPECT_EQ(fixture.front.stats().accepted, 0u);
  client.connection.received(infer_json(3));
  EXPECT_EQ(fixture.front.stats().accepted, 0u);
}

// Only what the body told made it the other protocol's: the count of messages is kept here.
TEST(front_closes_behind_the_last_message_also_when_it_was_handed_over) {
  FrontOptions options;
  options.messages_per_connection_max = 1;
  FrontFixture fixture(options);
  Client client(fixture);
  client.connection.received(
      infer_json(1, "", ",\"outputs\":[{\"name\":\"y\",\"parameters\":{\"classification\":1}}]"));
  EXPECT(!client.transport.forwarded.empty());
  client.connection.forwarded_answered();
  EXPECT(client.transport.is_closed);
}

TEST(front_stops_reading_behind_a_message_that_waits_for_its_turn) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  client.connection.received(infer_json(1) + std::string(kHealth));
  for (int i = 0; i < 300 && !client.transport.is_reading_paused; ++i) {
    client.connection.received(std::string(1024, 'x'));
  }
  EXPECT(client.transport.is_reading_paused);
  EXPECT_EQ(client.transport.forwarded, "");
  latch.open();
  fixture.complete_until([&] { return client.transport.forwarded == kHealth; });
}

TEST(front_counts_bodies_as_they_come_not_as_they_are_claimed) {
  FrontOptions options;
  options.bodies_bytes_max = 1000;
  FrontFixture fixture(options);
  constexpr std::string_view kClaim =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 900\r\n\r\n";
  Client first(fixture);
  Client second(fixture);
  Client third(fixture);
  first.connection.received(kClaim);
  second.connection.received(kClaim);  // claims cost nothing
  first.connection.received(std::string(800, ' '));
  EXPECT_EQ(fixture.front.stats().body_bytes, 800);
  second.connection.received(std::string(300, ' '));
  EXPECT_EQ(second.count("HTTP/1.1 503"), 1u);
  EXPECT(second.transport.is_finished);
  third.connection.received(
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n" +
      std::string(300, ' '));
  EXPECT_EQ(third.count("HTTP/1.1 503"), 1u);
  EXPECT_EQ(first.answers(), 0u);
}

TEST(front_counts_bodies_that_the_other_protocol_gathers) {
  FrontOptions options;
  options.bodies_bytes_max = 1000;
  FrontFixture fixture(options);
  Client client(fixture);
  client.connection.received(std::string(kChunkedEcho) + "190\r\n" + std::string(400, 'x'));
  EXPECT(fixture.front.stats().body_bytes >= 400);
  client.connection.received("\r\n320\r\n" + std::string(800, 'x'));
  EXPECT_EQ(client.count("HTTP/1.1 503"), 1u);
  client.connection.lost();
  EXPECT_EQ(fixture.front.stats().body_bytes, 0);
}

TEST(front_has_no_room_for_outputs) {
  FrontOptions options;
  options.bodies_bytes_max = 1500;
  FrontFixture fixture(options);
  Client client(fixture);
  client.connection.received(infer_binary("m", 64));  // 1 KiB in, 1 KiB out
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("HTTP/1.1 503"), 1u);
  EXPECT_EQ(client.count("retry-after: "), 1u);
  EXPECT_EQ(fixture.front.stats().body_bytes, 0);
}

TEST(front_reads_no_further_request_while_a_connection_holds_much) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  fixture.add("wide", 512);
  const std::string large = infer_binary("wide", 64 * 1024);  // 1 MiB in, 1 MiB out
  for (int i = 0; i < 6; ++i) client.connection.received(large);
  const int64_t held = fixture.front.stats().body_bytes;
  EXPECT(held >= 4 << 20);
  EXPECT(held < 7 << 20);
  EXPECT(client.transport.is_reading_paused);
  latch.open();
  fixture.complete_until([&] { return client.count("HTTP/1.1 200") == 6; });
  EXPECT_EQ(fixture.front.stats().body_bytes, 0);
}

TEST(front_takes_a_malformed_message_back) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(std::string(kChunkedEcho) + "5\r\nabcdeX" + infer_json(1));
  EXPECT_EQ(client.count("HTTP/1.1 400"), 1u);
  EXPECT_EQ(client.answers(), 1u);
  EXPECT(client.transport.is_finished);
}

TEST(front_writes_nothing_into_an_answer_that_has_begun) {
  FrontFixture fixture;
  Client client(fixture);
  client.transport.may_take_back = false;
  client.connection.received(std::string(kChunkedEcho) + "5\r\nabcdeX");
  EXPECT_EQ(client.answers(), 0u);
  EXPECT(client.transport.is_aborted);
}

TEST(front_closes_when_the_rest_of_an_answered_message_is_malformed) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(std::string(kChunkedEcho) + "5\r\nabc");
  client.connection.forwarded_answered();
  client.connection.received("deX");
  EXPECT_EQ(client.answers(), 0u);
  EXPECT(client.transport.is_closed);
}

TEST(front_asks_a_pace_of_bodies_that_the_other_protocol_gathers) {
  FakeClock clock;
  FrontOptions options;
  options.clock = &clock;
  FrontFixture fixture(options);
  Client silent(fixture);
  Client slow(fixture);
  Client held_back(fixture);
  Client answered(fixture);
  for (Client* client : {&silent, &slow, &held_back, &answered}) {
    client->connection.received(
        "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
  }
  slow.connection.received(std::string(10 * 1024, 'x'));
  held_back.connection.set_forward_paused(true);
  answered.connection.forwarded_answered();
  clock.advance(6 * kSecond);
  fixture.front.sweep();
  EXPECT_EQ(silent.count("HTTP/1.1 408"), 1u);
  EXPECT(answered.transport.is_closed);
  EXPECT_EQ(slow.answers(), 0u);
  clock.advance(10 * kSecond);
  fixture.front.sweep();
  EXPECT_EQ(slow.count("HTTP/1.1 408"), 1u);
  EXPECT_EQ(held_back.answers(), 0u);
  held_back.connection.set_forward_paused(false);
  clock.advance(6 * kSecond);
  fixture.front.sweep();
  EXPECT_EQ(held_back.count("HTTP/1.1 408"), 1u);
}

TEST(front_lets_go_of_a_client_that_takes_nothing_and_not_of_one_that_is_slow) {
  FakeClock clock;
  FrontOptions options;
  options.clock = &clock;
  options.write_stall_max = 10 * kSecond;
  options.head_max = 100 * kSecond;
  FrontFixture fixture(options);
  Client slow(fixture);
  Client stalled(fixture);
  slow.transport.unsent = stalled.transport.unsent = 1 << 20;
  slow.connection.pause_writing();
  stalled.connection.pause_writing();
  for (int i = 0; i < 3; ++i) {
    clock.advance(11 * kSecond);
    slow.transport.unsent -= 11 << 10;
    stalled.transport.unsent -= 100;
    fixture.front.sweep();
    EXPECT(!slow.transport.is_aborted);
    EXPECT(stalled.transport.is_aborted);
  }
}

TEST(front_answers_what_is_due_before_a_body_that_ends_early) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  const std::string whole = infer_json(1);
  client.connection.received(whole + whole.substr(0, whole.size() - 1));
  EXPECT(client.connection.received_eof());
  latch.open();
  fixture.complete_until([&] { return client.answers() == 2; });
  EXPECT_EQ(client.count("HTTP/1.1 200"), 1u);
  EXPECT_EQ(client.count("HTTP/1.1 400"), 1u);
  EXPECT(client.transport.is_closed);
}

TEST(front_drops_a_body_that_ends_early) {
  FrontFixture fixture;
  Client client(fixture);
  const std::string whole = infer_json(1);
  client.connection.received(whole.substr(0, whole.size() - 1));
  EXPECT(!client.connection.received_eof());
  EXPECT(client.transport.is_aborted);
  EXPECT_EQ(client.answers(), 0u);
}

// It is not offered, so it is not asked for (RFC 9110, section 7.8): the Java client asks each
// time.
TEST(front_ignores_an_upgrade) {
  FrontFixture fixture;
  Client client(fixture);
  constexpr std::string_view kUpgrade = "Connection: Upgrade\r\nUPGRADE: h2c\r\n";
  client.connection.received(infer_json(1, kUpgrade));
  fixture.complete_until([&] { return client.count("HTTP/1.1 200") == 1; });
  client.connection.received(post("/echo", "hello", kUpgrade));
  EXPECT_EQ(client.transport.forwarded,
            "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nContent-Length: "
            "5\r\n\r\nhello");
}

}  // namespace
}  // namespace pelton
