// The edges of the tokenizer's contract. That it is equal to the `tokenizers` package is shown in
// tests/python/text.
#include "csrc/text/word_piece.h"

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/native/test.h"

namespace pelton {
namespace {

constexpr int32_t kUnknown = 0, kBegin = 1, kEnd = 2, kThe = 3, kPlay = 4, kIng = 5, kA = 6,
                  kMoreA = 7, kDot = 8, kAe = 9;

WordPiece::Options toy() {
  WordPiece::Options options;
  options.vocabulary = {"[UNK]", "[CLS]", "[SEP]", "the", "play", "##ing", "a", "##a", ".", "æ"};
  options.added_tokens = {{"[UNK]", kUnknown}, {"[CLS]", kBegin}, {"[SEP]", kEnd}};
  options.prefix = {kBegin};
  options.suffix = {kEnd};
  return options;
}

std::unique_ptr<const WordPiece> made(const WordPiece::Options& options = toy()) {
  auto word_piece = WordPiece::create(options);
  if (!EXPECT_OK(word_piece)) return nullptr;
  return std::move(word_piece).value();
}

using Ids = std::vector<int32_t>;

Ids encode(const WordPiece& word_piece, std::string_view text, int64_t tokens_max = 1 << 20) {
  Ids ids;
  word_piece.encode(text, tokens_max, ids);
  return ids;
}

TEST(longest_pieces_come_first) {
  const auto word_piece = made();
  ASSERT(word_piece != nullptr);
  EXPECT_EQ(encode(*word_piece, ""), Ids({kBegin, kEnd}));
  EXPECT_EQ(encode(*word_piece, "The playing."), Ids({kBegin, kThe, kPlay, kIng, kDot, kEnd}));
  EXPECT_EQ(encode(*word_piece, "aaa  \xC3\x86"), Ids({kBegin, kA, kMoreA, kMoreA, kAe, kEnd}));
  EXPECT_EQ(encode(*word_piece, "ing"), Ids({kBegin, kUnknown, kEnd}));
  EXPECT_EQ(encode(*word_piece, "playinx the"), Ids({kBegin, kUnknown, kThe, kEnd}));
  EXPECT_EQ(encode(*word_piece, "the[SEP]a[ SEP]"),
            Ids({kBegin, kThe, kEnd, kA, kUnknown, kUnknown, kUnknown, kEnd}));
}

TEST(ids_are_appended) {
  const auto word_piece = made();
  ASSERT(word_piece != nullptr);
  Ids ids = {42};
  EXPECT_EQ(word_piece->encode("the", 100, ids), 3);
  EXPECT_EQ(word_piece->encode("playinx", 100, ids), 3);
  EXPECT_EQ(ids, Ids({42, kBegin, kThe, kEnd, kBegin, kUnknown, kEnd}));
}

TEST(what_is_over_the_limit_is_counted_and_cut_before_the_suffix) {
  const auto word_piece = made();
  ASSERT(word_piece != nullptr);
  // Words that end as unknown after some of their pieces were taken, on every side of the limit.
  const std::string_view text = "aaa playinx aax the playing a.";
  const Ids all = encode(*word_piece, text);
  for (int64_t tokens_max = 2; tokens_max <= static_cast<int64_t>(all.size()) + 2; ++tokens_max) {
    Ids ids;
    EXPECT_EQ(word_piece->encode(text, tokens_max, ids), all.size());
    Ids expected = all;
    if (static_cast<int64_t>(all.size()) > tokens_max) {
      expected.resize(static_cast<size_t>(tokens_max) - 1);
      expected.push_back(kEnd);
    }
    EXPECT_EQ(ids, expected);
  }
}

TEST(long_words_are_unknown) {
  WordPiece::Options options = toy();
  options.word_chars_max = 5;
  const auto word_piece = made(options);
  ASSERT(word_piece != nullptr);
  for (const std::string unit : {"a", "\xC3\xA1"}) {  // á loses its accent
    std::string text;
    for (size_t i = 0; i < 5; ++i) text += unit;
    EXPECT_EQ(encode(*word_piece, text).size(), 7);
    EXPECT_EQ(encode(*word_piece, text + unit), Ids({kBegin, kUnknown, kEnd}));
    for (size_t i = 0; i < 10000; ++i) text += unit;
    EXPECT_EQ(encode(*word_piece, text + " the"), Ids({kBegin, kUnknown, kThe, kEnd}));
  }
}

TEST(without_continuing_pieces_only_whole_words_are_known) {
  WordPiece::Options options = toy();
  options.continuing_prefix = "@@";
  const auto word_piece = made(options);
  ASSERT(word_piece != nullptr);
  EXPECT_EQ(encode(*word_piece, "playing play"), Ids({kBegin, kUnknown, kPlay, kEnd}));
}

TEST(counts_are_of_distinct_tokens) {
  WordPiece::Options options = toy();
  options.added_tokens.push_back({"<new>", 10});
  const auto word_piece = made(options);
  ASSERT(word_piece != nullptr);
  EXPECT_EQ(word_piece->vocabulary_size(), 11);
  EXPECT_EQ(word_piece->special_count(), 2);
  EXPECT_EQ(encode(*word_piece, "a<new>a"), Ids({kBegin, kA, 10, kA, kEnd}));
}

TEST(bad_options_are_refused) {
  const auto refused = [](auto change, std::string_view words) {
    WordPiece::Options options = toy();
    change(options);
    const auto word_piece = WordPiece::create(options);
    EXPECT_EQ(word_piece.status().code(), StatusCode::kInvalidArgument);
    EXPECT(word_piece.status().message().find(words) != std::string_view::npos);
  };
  refused([](auto& options) { options.vocabulary.push_back("the"); }, "'the' twice");
  refused([](auto& options) { options.unknown_token = "<unk>"; }, "'<unk>'");
  refused([](auto& options) { options.vocabulary.clear(); }, "'[UNK]'");
  refused([](auto& options) { options.added_tokens.push_back({"[SEP]", 9}); }, "'[SEP]' twice");
  refused([](auto& options) { options.added_tokens.push_back({"", 9}); }, "special tokens");
  refused([](auto& options) { options.added_tokens.push_back({"x", -1}); }, "special tokens");
  refused([](auto& options) { options.prefix = {-1}; }, "special tokens");
  refused([](auto& options) { options.suffix = {-1}; }, "special tokens");
  refused([](auto& options) { options.word_chars_max = 0; }, "got 0");
  refused([](auto& options) { options.word_chars_max = 1001; }, "got 1001");
}

// Under the sanitizers: nothing is read or written out of bounds.
TEST(bytes_that_are_no_utf8_do_no_harm) {
  std::mt19937_64 dice(testing::seed());
  for (int switches = 0; switches < 16; ++switches) {
    WordPiece::Options options = toy();
    options.clean_text = (switches & 1) != 0;
    options.handle_chinese_chars = (switches & 2) != 0;
    options.strip_accents = (switches & 4) != 0;
    options.lowercase = (switches & 8) != 0;
    options.word_chars_max = WordPiece::kWordCharsMax;
    const auto word_piece = made(options);
    ASSERT(word_piece != nullptr);
    for (int round = 0; round < 200; ++round) {
      std::vector<char> text(dice() % 64);
      for (char& byte : text) byte = static_cast<char>(dice());
      EXPECT(encode(*word_piece, {text.data(), text.size()}).size() >= 2);
    }
    for (int byte = 0x80; byte < 0x100; ++byte) {
      const std::vector<char> text(20000, static_cast<char>(byte));
      EXPECT(encode(*word_piece, {text.data(), text.size()}).size() >= 2);
    }
  }
}

}  // namespace
}  // namespace pelton
