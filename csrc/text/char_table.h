// CharTable: what becomes of each code point in BERT's normalizer (clean, set Chinese apart, strip
// accents, lower case, in this order) and pre-tokenizer (split at spaces, isolate punctuation),
// worked out once for a setting of the switches.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/text/unicode.h"

namespace pelton {

// Immutable; thread-safe. About 100 KB.
class CharTable {
 public:
  struct Options {
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool strip_accents = true;
    bool lowercase = true;
  };
  enum class Kind : uint32_t {
    kWord,      // goes on with the word
    kSpace,     // ends it
    kRemoved,   // is as if it were not there
    kIsolated,  // is a word by itself
    kHangul,    // goes on with the word, decomposed by rule
    kSlow,      // its parts are put in order with those that follow, or are not all of one kind
  };
  class Entry {
   public:
    Entry() = default;
    Entry(Kind kind, size_t begin, size_t bytes)
        : bits_(static_cast<uint32_t>(kind) | static_cast<uint32_t>(bytes << 3) |
                static_cast<uint32_t>(begin << 8)) {}
    Kind kind() const { return static_cast<Kind>(bits_ & 7); }
    uint32_t bytes() const { return (bits_ >> 3) & 31; }
    uint32_t begin() const { return bits_ >> 8; }

   private:
    uint32_t bits_ = 0;
  };

  explicit CharTable(const Options& options);

  // REQUIRES: c < unicode::kEnd.
  Entry at(char32_t c) const { return blocks_[index_[c >> 6]][c & 63]; }
  // What a character of the word or an isolated one becomes, in UTF-8; empty: what it was.
  std::string_view replacement(Entry entry) const {
    return std::string_view(replacements_).substr(entry.begin(), entry.bytes());
  }

 private:
  using Block = std::array<Entry, 64>;

  Entry work_out(char32_t c, const Options& options);
  void set(char32_t c, Entry entry);
  void fill(std::span<const unicode::Range> ranges, Kind kind);

  std::vector<uint16_t> index_;
  std::vector<Block> blocks_;  // the first shared_count_ are of one entry each
  size_t shared_count_ = 0;
  std::string replacements_;
};

}  // namespace pelton
