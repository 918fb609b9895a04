#include "csrc/text/byte_trie.h"

#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

// What the trie says of the whole of `text`: -2 no prefix of a key, -1 a prefix, else the value.
int32_t look_up(const ByteTrie& trie, std::string_view text) {
  ByteTrie::State state = ByteTrie::kRoot;
  for (const char c : text) {
    if (!trie.step(state, static_cast<uint8_t>(c))) return -2;
  }
  return trie.is_key(state) ? trie.value(state) : -1;
}

void expect_same(const std::map<std::string, int32_t>& keys, std::mt19937_64& dice) {
  std::vector<ByteTrie::Entry> entries;
  std::map<std::string, int32_t> oracle{{"", -1}};
  for (const auto& [key, value] : keys) {
    entries.push_back({key, value});
    for (size_t bytes = 0; bytes < key.size(); ++bytes) oracle.emplace(key.substr(0, bytes), -1);
    oracle[key] = value;
  }
  const auto trie = ByteTrie::create(entries);
  if (!EXPECT_OK(trie)) return;
  for (const auto& [text, value] : oracle) {
    if (!EXPECT_EQ(look_up(trie.value(), text), value)) return;
    const std::string longer = text + static_cast<char>(dice());
    const auto found = oracle.find(longer);
    if (!EXPECT_EQ(look_up(trie.value(), longer), found == oracle.end() ? -2 : found->second)) {
      return;
    }
  }
}

TEST(every_prefix_and_no_other_text_is_found) {
  std::mt19937_64 dice(testing::seed());
  expect_same({}, dice);
  expect_same({{"", 7}}, dice);
  expect_same({{std::string("\0", 1), 1}, {std::string("\0\0", 2), 2}, {"\xFF\xFF", 3}}, dice);
  for (const uint64_t letters : {2, 20, 256}) {
    std::map<std::string, int32_t> keys;
    for (int32_t value = 0; value < 3000; ++value) {
      std::string key(dice() % 9, '\0');
      for (char& c : key) c = static_cast<char>(dice() % letters);
      keys.emplace(key, value);
    }
    expect_same(keys, dice);
  }
}

TEST(a_key_that_is_there_twice_is_named) {
  const auto trie = ByteTrie::create({{"a", 1}, {"the", 2}, {"the", 3}});
  EXPECT_EQ(trie.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(trie.status().message(), "expected distinct tokens, got 'the' twice");
}

}  // namespace
}  // namespace pelton
