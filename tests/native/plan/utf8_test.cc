#include "csrc/plan/utf8.h"

#include <string>

#include "tests/native/test.h"

namespace pelton {

TEST(utf8_accepts_well_formed_text) {
  for (const std::string_view text :
       {"", "plain", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
        "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "a\xC3\xA9z"}) {
    EXPECT_EQ(utf8_prefix_bytes(text), text.size());
  }
  EXPECT_EQ(utf8_prefix_bytes(std::string_view("\0x", 2)), 2);
}

TEST(utf8_stops_at_malformed_text) {
  for (const std::string_view bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x7F", "\xC2\xC0", "\xE0\x9F\xBF",
        "\xE1\x80", "\xE1\x80\x7F", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF1\x80\x80",
        "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_EQ(utf8_prefix_bytes(bad), 0);
    EXPECT_EQ(utf8_prefix_bytes("ok\xC3\xA9" + std::string(bad)), 4);
  }
}

}  // namespace pelton
