#include "csrc/wire/python_text.h"

#include <string>

#include "csrc/wire/json_text.h"
#include "csrc/wire/utf8.h"
#include "csrc/wire/where.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

std::string in_json(std::string_view text) {
  std::string out;
  append_json_string(text, out);
  return out;
}

std::string in_ascii_json(std::string_view text) {
  std::string out;
  append_json_string_ascii(text, out);
  return out;
}

TEST(names_are_quoted_as_python_does) {
  EXPECT_EQ(python_repr(""), "''");
  EXPECT_EQ(python_repr("it's"), "\"it's\"");
  EXPECT_EQ(python_repr("it's \"x\""), "'it\\'s \"x\"'");
  EXPECT_EQ(python_repr("\\\t\n\r\x01\x7f"), "'\\\\\\t\\n\\r\\x01\\x7f'");
  EXPECT_EQ(python_repr("\xC3\xA9\xC2\xAD"), "'\xC3\xA9\\xad'");
  EXPECT_EQ(python_repr("\xE2\x80\xA8"), "'\\u2028'");
  EXPECT_EQ(python_repr("\xF3\xA0\x80\x81"), "'\\U000e0001'");
  EXPECT_EQ(python_repr("\xFF"), "'\\udcff'");
}

TEST(long_texts_are_cut_by_characters) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "\xC3\xA9";
  EXPECT_EQ(shorten(text), text);
  EXPECT_EQ(count_code_points(shorten(text + "x")), 60);
  EXPECT(shorten(text + "x").ends_with("\xE2\x80\xA6"));
}

TEST(numbers_are_described) {
  EXPECT_EQ(describe_float(1e16), "the number 1e+16");
  EXPECT_EQ(describe_float(-1.0 / 0.0), "the number -inf");
  EXPECT_EQ(describe_integer("-0"), "the number 0");
  EXPECT_EQ(describe_integer("-" + std::string(39, '9')), "the number -" + std::string(39, '9'));
  EXPECT_EQ(describe_integer(std::string(100, '9')), "an integer of about 100 digits");
}

TEST(json_strings_are_escaped_no_further_than_needed) {
  EXPECT_EQ(in_json("a\"\\\b\f\n\r\t\x1f/\x7f\xC3\xA9"),
            "\"a\\\"\\\\\\b\\f\\n\\r\\t\\u001f/\x7f\xC3\xA9\"");
  EXPECT_EQ(in_json("a longer text, all of it plain"), "\"a longer text, all of it plain\"");
  EXPECT_EQ(in_ascii_json("\x7f\xC3\xA9\xF0\x9F\x98\x80\xFF"),
            "\"\\u007f\\u00e9\\ud83d\\ude00\\udcff\"");
}

TEST(utf8_is_checked_to_the_byte) {
  size_t offset = 0;
  EXPECT(is_utf8("plain, and \xC3\xA9 and \xF0\x9F\x98\x80"));
  for (const char* bad : {"\x80", "\xC0\x80", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80",
                          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82"}) {
    EXPECT(!is_utf8(std::string("eight by") + bad, &offset));
    EXPECT_EQ(offset, 8);
  }
}

TEST(places_are_paths) {
  const Where body;
  const Where inputs = body.at("inputs");
  const Where input = inputs.item(2);
  const Where named = input.named("it's");
  const Where data = named.at("data");
  EXPECT_EQ(body.field(), "");
  EXPECT_EQ(data.item(7).field(), "inputs[2].data[7]");
  const ProblemPtr problem = data.item(7).bad("a number", "null", 12);
  EXPECT_EQ(problem->message,
            "inputs[2].data[7] (tensor \"it's\"): expected a number, got null, at byte 12");
  EXPECT_EQ(*problem->tensor, "it's");
  EXPECT_EQ(*problem->offset, 12);
  EXPECT_EQ(body.bad("an object", "null")->message, "the body: expected an object, got null");
  EXPECT(!body.refused("no")->field);
}

}  // namespace
}  // namespace pelton
