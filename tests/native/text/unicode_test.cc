#include "csrc/text/unicode.h"

#include <string>
#include <string_view>

#include "csrc/text/char_table.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

TEST(utf8_is_read_as_it_was_written) {
  for (char32_t c = 0; c < unicode::kEnd; ++c) {
    char text[4];
    const size_t bytes = unicode::write_utf8(c, text);
    const auto read = unicode::read_utf8(text, text + bytes);
    if (!EXPECT_EQ(read.bytes, bytes) || !EXPECT_EQ(uint32_t{read.c}, uint32_t{c})) return;
  }
}

TEST(utf8_that_is_cut_short_is_one_bad_byte) {
  for (const std::string_view text :
       {"\x80", "\xC3", "\xE6\xBC", "\xF0\x9D\x85", "\xFF\xFF\xFF\xFF"}) {
    const auto read = unicode::read_utf8(text.data(), text.data() + text.size());
    EXPECT_EQ(uint32_t{read.c}, uint32_t{unicode::kReplacement});
    EXPECT_EQ(read.bytes, 1);
  }
}

// What a table says of one character, with every switch on.
std::string shown(const CharTable& table, char32_t c) {
  const CharTable::Entry entry = table.at(c);
  return std::to_string(static_cast<int>(entry.kind())) + std::string(table.replacement(entry));
}

TEST(tables_hold_what_every_switch_makes_of_a_character) {
  const CharTable all(CharTable::Options{});
  EXPECT_EQ(shown(all, 'a'), "0");
  EXPECT_EQ(shown(all, 'A'), "0a");
  EXPECT_EQ(shown(all, 0xC9), "0e");   // É
  EXPECT_EQ(shown(all, 0x130), "0i");  // İ: its dot is stripped before it is made lower case
  EXPECT_EQ(shown(all, ' '), "1");
  EXPECT_EQ(shown(all, 0x3000), "1");
  EXPECT_EQ(shown(all, 0x85), "2");  // removed before it could be a space
  EXPECT_EQ(shown(all, 0x301), "2");
  EXPECT_EQ(shown(all, 0xAD), "2");
  EXPECT_EQ(shown(all, 0x10FFFF), "0");
  EXPECT_EQ(shown(all, '!'), "3");
  EXPECT_EQ(shown(all, 0x4E00), "3");
  EXPECT_EQ(shown(all, 0xF900), "3\xE8\xB1\x88");
  EXPECT_EQ(shown(all, 0x226E), "3<");
  EXPECT_EQ(shown(all, 0xD55C), "4");
  EXPECT_EQ(shown(all, 0x302E), "5");  // a tone mark that stays and has to be put in order
  const CharTable none({false, false, false, false});
  EXPECT_EQ(shown(none, 'A'), "0");
  EXPECT_EQ(shown(none, 0x85), "1");
  EXPECT_EQ(shown(none, 0x301), "0");
  EXPECT_EQ(shown(none, 0x4E00), "0");
  EXPECT_EQ(shown(none, 0x302E), "0");
  const CharTable lower({false, false, false, true});
  EXPECT_EQ(shown(lower, 0x130), "0i\xCC\x87");
}

TEST(hangul_is_decomposed_by_rule) {
  const unicode::Parts parts = unicode::decompose(0xD55C);  // 한
  ASSERT_EQ(parts.count, 3);
  EXPECT_EQ(uint32_t{parts.at[0]}, 0x1112);
  EXPECT_EQ(uint32_t{parts.at[1]}, 0x1161);
  EXPECT_EQ(uint32_t{parts.at[2]}, 0x11AB);
  EXPECT_EQ(unicode::decompose(0xAC00).count, 2);
}

}  // namespace
}  // namespace pelton
