// What JsonDocument gives of a text, and which texts it refuses. That both agree with the Python
// reader is tests/python/codec/test_native_json.py's to show.
#include "csrc/wire/json_document.h"

#include <string>

#include "tests/native/test.h"

namespace pelton {
namespace {

struct Parsed {
  JsonDocument document;
  Scratch scratch;
  std::string text;
  ProblemPtr problem;

  explicit Parsed(std::string given, const DecodeLimits& limits = {}) : text(std::move(given)) {
    problem = document.parse(text, limits, scratch);
  }
  JsonValue root() const { return document.root(); }
};

int64_t offset_of_refusal(std::string text) {
  const Parsed parsed(std::move(text));
  return parsed.problem && parsed.problem->offset ? *parsed.problem->offset : -1;
}

std::string joined(const JsonValue& array) {
  std::string all;
  for (auto item = array.first_element(); item; item = item->next()) {
    all += item->text();
    all += ';';
  }
  return all;
}

TEST(json_scalars_alone) {
  EXPECT(Parsed("null").root().is_null());
  EXPECT(Parsed(" true ").root().kind() == JsonKind::kTrue);
  EXPECT(Parsed("false").root().kind() == JsonKind::kFalse);
  EXPECT_EQ(Parsed("-1.5e+3").root().number(), "-1.5e+3");
  EXPECT_EQ(Parsed("\"a\"").root().string(), "a");
}

TEST(json_integers_are_told_from_floats) {
  EXPECT(Parsed("-12").root().is_integer());
  for (const char* text : {"1.0", "1e2", "1E2", "NaN", "Inf", "-Infinity"}) {
    EXPECT(!Parsed(text).root().is_integer());
  }
}

TEST(json_arrays_of_numbers_and_of_others_are_walked_alike) {
  const Parsed numbers("[ 1 , -2.5,3e4\n]");
  ASSERT(!numbers.problem);
  EXPECT(numbers.root().holds_numbers_only());
  EXPECT_EQ(numbers.root().size(), 3);
  EXPECT_EQ(joined(numbers.root()), "1;-2.5;3e4;");
  const Parsed mixed("[ 1 , \"x\",[2, 3],{\"a\":4}, 5 ]");
  ASSERT(!mixed.problem);
  EXPECT(!mixed.root().holds_numbers_only());
  EXPECT_EQ(mixed.root().size(), 5);
  EXPECT_EQ(joined(mixed.root()), "1;\"x\";[2, 3];{\"a\":4};5;");
  EXPECT(Parsed("[]").root().holds_numbers_only());
  EXPECT(!Parsed("[]").root().first_element());
}

TEST(json_elements_know_their_places) {
  const Parsed parsed("[10, [20, 30], \"x\"]");
  ASSERT(!parsed.problem);
  const auto first = parsed.root().first_element();
  EXPECT_EQ(first->offset(), 1);
  const auto second = first->next();
  EXPECT_EQ(second->offset(), 5);
  EXPECT_EQ(second->first_element()->next()->offset(), 10);
  EXPECT(!second->first_element()->next()->next());
  EXPECT_EQ(second->next()->offset(), 15);
  EXPECT(!second->next()->next());
}

TEST(json_members_by_name_and_in_order) {
  const Parsed parsed("{\"a\":1,\"b\":{\"a\":[2]},\"\\u0063\":\"\"}");
  ASSERT(!parsed.problem);
  EXPECT_EQ(parsed.root().size(), 3);
  EXPECT_EQ(parsed.root().find("a")->number(), "1");
  EXPECT_EQ(parsed.root().find("b")->find("a")->text(), "[2]");
  EXPECT_EQ(parsed.root().find("c")->string(), "");
  EXPECT(!parsed.root().find("d"));
  std::string keys;
  for (auto member = parsed.root().first_member(); member; member = member->next()) {
    keys += member->key();
  }
  EXPECT_EQ(keys, "abc");
}

TEST(json_strings_are_views_unless_escaped) {
  const Parsed plain("\"caf\xC3\xA9\"");
  EXPECT(plain.root().string().data() == plain.text.data() + 1);
  const Parsed escaped("\"a\\n\\\"\\/\\u00e9\\ud83d\\ude00z\"");
  EXPECT_EQ(escaped.root().string(), "a\n\"/\xC3\xA9\xF0\x9F\x98\x80z");
}

TEST(json_knows_infinite_literals) {
  EXPECT(!Parsed("[1, NaN, \"Inf\"]").document.has_infinity());
  EXPECT(Parsed("[1, -Inf]").document.has_infinity());
  EXPECT(Parsed("{\"a\": Infinity}").document.has_infinity());
  // A list of numbers that turns out to hold something else is read twice, and flagged once.
  EXPECT(Parsed("[Inf, 1, \"x\"]").document.has_infinity());
}

TEST(json_refusals_say_where) {
  EXPECT_EQ(offset_of_refusal("[1, 2"), 5);
  EXPECT_EQ(offset_of_refusal("[1 2]"), 3);
  EXPECT_EQ(offset_of_refusal("{\"a\" 1}"), 5);
  EXPECT_EQ(offset_of_refusal("[01]"), 2);
  EXPECT_EQ(offset_of_refusal("\"a\x01\""), 2);
  EXPECT_EQ(offset_of_refusal("\"\\ud800\""), 1);
  EXPECT_EQ(offset_of_refusal("\"\xC3\""), 1);
  EXPECT_EQ(offset_of_refusal("[Inf, Inf x]"), 10);
}

TEST(json_limits_hold_and_are_sizes) {
  DecodeLimits limits;
  limits.containers_max = 2;
  EXPECT(!Parsed("[[]]", limits).problem);
  EXPECT(Parsed("[[],[]]", limits).problem->kind == ProblemKind::kPayloadTooLarge);
  limits.nodes_max = 4;
  EXPECT(!Parsed("[1,2,3,4]", limits).problem);
  EXPECT(Parsed("[1,2,3,4,5]", limits).problem->kind == ProblemKind::kPayloadTooLarge);
  limits.rank_max = 0;
  limits.containers_max = 100;
  limits.nodes_max = 100;
  EXPECT(!Parsed("[[[[]]]]", limits).problem);
  EXPECT(Parsed("[[[[[]]]]]", limits).problem->kind == ProblemKind::kInvalidInput);
}

TEST(json_of_great_depth_and_numbers_of_many_digits_are_refused) {
  EXPECT(Parsed(std::string(100'000, '[')).problem != nullptr);
  EXPECT(Parsed(std::string(1'000'000, '1')).problem != nullptr);
  EXPECT(Parsed("[1e" + std::string(1'000'000, '1') + "]").problem != nullptr);
}

TEST(json_keys_may_not_come_twice) {
  EXPECT(Parsed("{\"a\":1,\"\\u0061\":2}").problem != nullptr);
  std::string many = "{";
  for (int i = 0; i < 1000; ++i) many += "\"k" + std::to_string(i) + "\":0,";
  EXPECT(!Parsed(many + "\"k\":0}").problem);
  EXPECT(Parsed(many + "\"k500\":0}").problem != nullptr);
}

TEST(json_document_is_used_again_after_a_refusal) {
  JsonDocument document;
  Scratch scratch;
  const DecodeLimits limits;
  EXPECT(document.parse("[Inf, \"\\n\", {\"a\":1}", limits, scratch) != nullptr);
  ASSERT(!document.parse("[\"\\t\"]", limits, scratch));
  EXPECT(!document.has_infinity());
  EXPECT_EQ(document.root().first_element()->string(), "\t");
}

}  // namespace
}  // namespace pelton
