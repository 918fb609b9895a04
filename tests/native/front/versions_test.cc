// Several versions of a model, and one that takes the place of another while requests are under
// way.
#include <string>

#include "tests/native/front/fixture.h"

namespace pelton {
namespace {

std::string to_version(std::string_view version) {
  return infer_json(1, "", "", "/v2/models/m/versions/" + std::string(version) + "/infer");
}

TEST(front_finds_a_version_by_its_name_and_else_the_first) {
  FrontFixture fixture;
  fixture.front.set_model("m", {fixture.served("m", "3"), fixture.served("m", "2")});
  Client client(fixture);
  client.connection.received(infer_json(1) + to_version("2") + to_version("3") + to_version("1"));
  fixture.complete_until([&] { return client.answers() == 4; });
  EXPECT_EQ(client.count("\"model_version\":\"3\""), 2u);
  EXPECT_EQ(client.count("\"model_version\":\"2\""), 1u);
  EXPECT_EQ(client.count("has no version '1'; its versions are 3, 2"), 2u);  // error and detail
}

TEST(front_ends_a_request_on_the_version_that_it_found) {
  FrontFixture fixture(engine_only());
  Latch latch;
  fixture.runner->before = [&] { latch.wait(); };
  auto first = fixture.served("m", "1");
  const std::weak_ptr<ServedModel> old = first;
  fixture.front.set_model("m", {std::move(first)});
  Client with_body(fixture);
  with_body.connection.received(infer_json(1));
  Client without(fixture);  // its body comes when another version is served
  const std::string text = infer_json(1);
  without.connection.received(text.substr(0, text.size() - 5));
  fixture.front.set_model("m", {fixture.served("m", "2")});
  EXPECT(!old.expired());
  latch.open();
  without.connection.received(text.substr(text.size() - 5));
  Client later(fixture);
  later.connection.received(infer_json(1));
  fixture.complete_until(
      [&] { return with_body.answers() == 1 && without.answers() == 1 && later.answers() == 1; });
  EXPECT_EQ(with_body.count("\"model_version\":\"1\""), 1u);
  EXPECT_EQ(without.count("\"model_version\":\"1\""), 1u);
  EXPECT_EQ(later.count("\"model_version\":\"2\""), 1u);
  EXPECT(old.expired());  // nothing holds it any more
}

TEST(front_knows_no_model_that_was_removed) {
  FrontFixture fixture;
  fixture.front.remove_model("m");
  Client client(fixture);
  client.connection.received(infer_json(1));
  fixture.complete_until([&] { return client.answers() == 1; });
  EXPECT_EQ(client.count("404 Not Found"), 1u);
  fixture.add("m");
  client.connection.received(infer_json(1));
  fixture.complete_until([&] { return client.answers() == 2; });
  EXPECT_EQ(client.count("200 OK"), 1u);
}

TEST(front_forwards_a_model_without_native_versions) {
  FrontFixture fixture;
  fixture.front.set_model("m", {});
  Client client(fixture);
  client.connection.received(infer_json(1));
  EXPECT_EQ(client.transport.forwarded, infer_json(1));
}

}  // namespace
}  // namespace pelton
