// The request path over strings: order of answers, flow, ends. Sockets are in epoll_front_test.cc.
#include <string>

#include "tests/native/front/fixture.h"

namespace pelton {
namespace {

TEST(front_answers_a_json_request) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(infer_json(1, "X-Request-Id: abc\r\n"));
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT(client.transport.written.starts_with("HTTP/1.1 200 OK\r\n"));
  EXPECT(client.transport.written.ends_with(
      "{\"model_name\":\"m\",\"model_version\":\"1\",\"outputs\":[{\"name\":\"y\",\"shape\":[1,4],"
      "\"datatype\":\"FP32\",\"data\":[2.0,3.0,4.0,5.0]}]}"));
  EXPECT_EQ(client.count("x-request-id: abc\r\n"), 1u);
  EXPECT_EQ(fixture.front.stats().accepted, 1u);
  EXPECT_EQ(fixture.front.stats().answered, 1u);
  EXPECT_EQ(fixture.front.stats().body_bytes, 0);
}

TEST(front_answers_byte_by_byte) {
  FrontFixture fixture;
  Client client(fixture);
  for (const char byte : infer_json(1)) client.connection.received({&byte, 1});
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("200 OK"), 1u);
}

TEST(front_takes_chunks) {
  FrontFixture fixture;
  Client client(fixture);
  const std::string whole = infer_json(1);
  const std::string body = whole.substr(whole.find("\r\n\r\n") + 4);
  std::string text =
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char byte : body)
    text += std::string(&byte == &body.front() ? "1;a=b\r\n" : "1\r\n") + byte + "\r\n";
  client.connection.received(text + "0\r\nTrailer: x\r\n\r\n" + whole);
  fixture.complete_until([&] { return client.answers() == 2; });
  EXPECT_EQ(client.count("200 OK"), 2u);
}

TEST(front_answers_pipelined_requests_in_order_with_few_writes) {
  FrontFixture fixture;
  Client client(fixture);
  constexpr int kCount = 300;  // several times what may be under way
  std::string text;
  for (int i = 0; i < kCount; ++i) {
    text += infer_json(static_cast<float>(i), "X-Request-Id: r" + std::to_string(i) + "\r\n");
  }
  client.connection.received(text);
  fixture.complete_until([&] { return client.answers() == kCount; });
  size_t at = 0;
  for (int i = 0; i < kCount; ++i) {
    at = client.transport.written.find("x-request-id: r" + std::to_string(i) + "\r\n", at);
    EXPECT(at != std::string::npos);
  }
  EXPECT(client.transport.writes < kCount / 2);
}

TEST(front_hands_other_messages_over_one_at_a_time_and_in_order) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  const std::string health = "GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n";
  const std::string other = post("/echo", "hello");
  client.connection.received(infer_json(1) + health + other + infer_json(5));
  EXPECT_EQ(client.transport.forwarded, "");  // the answer before it is not written
  latch.open();
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.transport.forwarded, health);
  client.connection.forwarded_answered();
  EXPECT_EQ(client.transport.forwarded, health + other);
  EXPECT_EQ(client.answers(), 1u);
  client.connection.forwarded_answered();
  fixture.complete_until([&] { return client.answers() == 2; });
}

TEST(front_hands_over_what_only_the_body_tells) {
  FrontFixture fixture;
  Client client(fixture);
  const std::string request =
      infer_json(1, "Expect: 100-continue\r\n",
                 ",\"outputs\":[{\"name\":\"y\",\"parameters\":{\"classification\":1}}]");
  client.connection.received(request + infer_json(2));
  EXPECT(client.transport.written.starts_with("HTTP/1.1 100 Continue\r\n\r\n"));
  EXPECT(client.transport.forwarded.ends_with("\"classification\":1}}]}"));
  EXPECT_EQ(client.transport.forwarded.find("Expect"), std::string::npos);
  fixture.complete();
  EXPECT_EQ(client.count("200 OK"), 0u);  // behind the one that is elsewhere
  client.connection.forwarded_answered();
  fixture.complete_until([&] { return client.count("200 OK") == 1; });
}

TEST(front_refuses_violations_and_closes) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(infer_json(1) + "BAD\n\r\n" + infer_json(2));
  fixture.complete_until([&] { return client.answers() == 2; });
  EXPECT_EQ(client.count("HTTP/1.1 200"), 1u);
  EXPECT_EQ(client.count("HTTP/1.1 400"), 1u);
  EXPECT_EQ(client.count("connection: close\r\n"), 1u);
  EXPECT(client.transport.is_finished);
}

TEST(front_refuses_a_long_body_from_its_head) {
  FrontOptions options;
  options.decode.body_bytes_max = 1000;
  FrontFixture fixture(options);
  Client client(fixture);
  client.connection.received(
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
  EXPECT_EQ(client.count("HTTP/1.1 413"), 1u);
  EXPECT(client.transport.is_finished);
  client.connection.received(std::string(70'000, 'x'));  // more than is dropped in silence
  EXPECT(client.transport.is_closed);
}

TEST(front_reads_past_the_body_of_a_short_request_that_it_refuses) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(post("/v2/models/none/infer", "{}") + infer_json(1));
  fixture.complete_until([&] { return client.answers() == 2; });
  EXPECT_EQ(client.count("HTTP/1.1 404"), 1u);
  EXPECT_EQ(client.count("HTTP/1.1 200"), 1u);
}

TEST(front_answers_a_half_closed_client) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  client.connection.received(infer_json(1));
  EXPECT(client.connection.received_eof());
  latch.open();
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT(client.transport.is_closed);
}

TEST(front_closes_at_eof_when_nothing_is_due) {
  FrontFixture fixture;
  Client client(fixture);
  EXPECT(!client.connection.received_eof());
}

TEST(front_cancels_what_has_not_started_when_the_client_is_gone) {
  FrontFixture fixture;
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client busy(fixture);
  busy.connection.received(infer_json(1));
  fixture.front.end_turn();
  {
    Client gone(fixture);
    gone.connection.received(infer_json(2) + infer_json(3));
    fixture.front.end_turn();
  }
  EXPECT_EQ(fixture.hooks.gone, 2);
  latch.open();
  fixture.complete_until([&] {
    const FrontStats stats = fixture.front.stats();
    return stats.answered == 3 && stats.body_bytes == 0 && busy.answers() == 1;
  });
}

TEST(front_answers_at_the_deadline) {
  FrontFixture fixture;
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  client.connection.received(infer_json(1, "Pelton-Deadline-Ms: 1\r\n") + infer_json(2));
  EXPECT(fixture.hooks.timer != kNoDeadline);
  while (fixture.front.now() < fixture.hooks.timer) {
  }
  fixture.front.on_timer();
  EXPECT_EQ(client.count("HTTP/1.1 504"), 1u);
  latch.open();
  fixture.complete_until([&] { return client.count("HTTP/1.1 200") == 1; });
  EXPECT_EQ(fixture.front.stats().answered, 2u);
}

TEST(front_cuts_a_large_request_into_pieces) {
  FrontFixture fixture;
  fixture.add("cut", 3);
  Client client(fixture);
  std::string data;
  std::string expected;
  for (int i = 0; i < 40 * kWidth; ++i) {
    data += (i > 0 ? "," : "") + std::to_string(i);
    expected += (i > 0 ? "," : "") + std::to_string(i + 1) + ".0";
  }
  client.connection.received(
      post("/v2/models/cut/infer",
           "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[40,4],\"data\":[" + data +
               "]}]}"));
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("[" + expected + "]"), 1u);
}

TEST(front_answers_a_request_without_rows) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.received(
      post("/v2/models/m/infer",
           "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[0,4],\"data\":[]}]}"));
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("\"shape\":[0,4],\"datatype\":\"FP32\",\"data\":[]"), 1u);
}

TEST(front_hides_a_failure_and_logs_it) {
  FrontFixture fixture;
  fixture.runner->result = internal_error("a secret");
  Client client(fixture);
  client.connection.received(infer_json(1));
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("HTTP/1.1 500"), 1u);
  EXPECT_EQ(client.count("secret"), 0u);
  EXPECT_EQ(fixture.hooks.failures.size(), 1u);
}

TEST(front_stops_reading_from_a_client_that_does_not_read) {
  FrontFixture fixture;
  Client client(fixture);
  client.connection.pause_writing();
  std::string text;
  while (text.size() < (size_t{600} << 10)) text += infer_json(1);
  client.connection.received(text);
  EXPECT(client.transport.is_reading_paused);
  EXPECT_EQ(client.answers(), 0u);
  client.connection.resume_writing();
  size_t sent = 0;
  for (size_t at = text.find("POST"); at != std::string::npos; at = text.find("POST", at + 1)) {
    ++sent;
  }
  fixture.complete_until([&] { return client.answers() == sent; });
  EXPECT(!client.transport.is_reading_paused);
}

TEST(front_ends_what_takes_too_long) {
  FrontOptions options;
  options.head_max = 1;
  options.keep_alive = 1;
  options.body_grace = 1;
  FrontFixture fixture(options);
  Client silent(fixture);
  Client head(fixture);
  Client body(fixture);
  head.connection.received("POST / HT");
  body.connection.received(
      "POST /v2/models/m/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n1");
  const Nanos start = fixture.front.now();
  while (fixture.front.now() < start + 10'000'000) {
  }
  fixture.front.sweep();
  EXPECT(silent.transport.is_aborted);
  EXPECT_EQ(head.count("HTTP/1.1 408"), 1u);
  EXPECT_EQ(body.count("HTTP/1.1 408"), 1u);
}

TEST(front_compresses_where_it_is_asked_to) {
  FrontOptions options;
  options.compress_bytes_min = 1;
  FrontFixture fixture(options);
  Client client(fixture);
  client.connection.received(infer_json(1, "Accept-Encoding: deflate;q=0, gzip\r\n"));
  fixture.complete_until([&] { return fixture.hooks.compressing != 0; });
  EXPECT_EQ(fixture.hooks.coding, "gzip");
  EXPECT_EQ(client.answers(), 0u);
  fixture.front.on_compressed(fixture.hooks.compressing, "short");
  EXPECT_EQ(client.count("content-encoding: gzip\r\n"), 1u);
  EXPECT(client.transport.written.ends_with("\r\n\r\nshort"));
}

TEST(front_drains) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  Client client(fixture);
  client.connection.received(infer_json(1));
  fixture.front.set_draining();
  client.connection.drain();
  EXPECT(!client.transport.is_closed);
  latch.open();
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("connection: close\r\n"), 1u);
  EXPECT(client.transport.is_finished);
}

TEST(front_has_no_room_for_another_connection) {
  FrontOptions options;
  options.connections_max = 1;
  FrontFixture fixture(options);
  Client first(fixture);
  Client second(fixture);
  EXPECT_EQ(first.answers(), 0u);
  EXPECT_EQ(second.count("HTTP/1.1 503"), 1u);
  EXPECT_EQ(second.count("retry-after: "), 1u);
}

}  // namespace
}  // namespace pelton
