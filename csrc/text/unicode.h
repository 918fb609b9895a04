// What BERT's normalizer and pre-tokenizer take each code point for, exactly as the `tokenizers`
// package does (unicode_tables.inc). For building tables and for rare characters: every call is a
// binary search. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace pelton::unicode {

inline constexpr char32_t kEnd = 0x110000;  // code points are below it
inline constexpr char32_t kReplacement = 0xFFFD;

struct Range {
  char32_t first;
  char32_t last;
};

// Text cleaning drops them, or makes a space of them.
std::span<const Range> removed_by_cleaning();
std::span<const Range> spaced_by_cleaning();
// Set apart by spaces.
std::span<const Range> chinese();
// Where the pre-tokenizer splits; what it makes a word of its own.
std::span<const Range> spaces();
std::span<const Range> isolated();
// Non-spacing marks, which strip_accents drops.
std::span<const Range> marks();
// Sorted and disjoint ranges, as all those above are.
bool contains(std::span<const Range> ranges, char32_t c);

// The canonical combining class as a rank that orders as it does; 0 for starters.
int combining_rank(char32_t c);
// Code points with a rank above 0.
struct RankedRange {
  char32_t first;
  char32_t last;
  int32_t rank;
};
std::span<const RankedRange> ranked();
inline constexpr int kRanksMax = 64;

// One to kPartsMax code points.
inline constexpr size_t kPartsMax = 4;
struct Parts {
  char32_t at[kPartsMax] = {};
  size_t count = 0;
};
// A code point and what it becomes; unused entries are 0.
struct Expansion {
  char32_t from;
  char32_t to[kPartsMax];
};
// Canonical decomposition, not yet ordered: starters first, then code points with a rank. Without
// Hangul syllables, which are decomposed by a rule (Unicode 3.12).
std::span<const Expansion> decompositions();
Parts decompose(char32_t c);
inline constexpr Range kHangul = {0xAC00, 0xAC00 + 11171};

// Lower case, each character by itself.
Parts lowercase(char32_t c);
struct CaseRun {
  char32_t first;
  char32_t last;
  char32_t step;
  int32_t delta;
};
std::span<const CaseRun> case_runs();          // to one code point: every step-th one, by delta
std::span<const Expansion> long_lowercases();  // to several

// Bytes written to `out`, 1 to 4. REQUIRES: c < kEnd.
inline size_t write_utf8(char32_t c, char* out) {
  if (c < 0x80) {
    out[0] = static_cast<char>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<char>(0xC0 | (c >> 6));
    out[1] = static_cast<char>(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<char>(0xE0 | (c >> 12));
    out[1] = static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out[2] = static_cast<char>(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = static_cast<char>(0xF0 | (c >> 18));
  out[1] = static_cast<char>(0x80 | ((c >> 12) & 0x3F));
  out[2] = static_cast<char>(0x80 | ((c >> 6) & 0x3F));
  out[3] = static_cast<char>(0x80 | (c & 0x3F));
  return 4;
}

// The code point that begins at `begin`, and its bytes. What is no UTF-8 gives kReplacement for one
// byte and is never read beyond `end`. REQUIRES: begin < end.
struct Decoded {
  char32_t c;
  uint32_t bytes;
};
inline Decoded read_utf8(const char* begin, const char* end) {
  const auto byte = [begin](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(begin[i]));
  };
  const uint32_t lead = byte(0);
  const auto left = static_cast<size_t>(end - begin);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xC0) return {kReplacement, 1};
  if (lead < 0xE0 && left >= 2) return {((lead & 0x1F) << 6) | (byte(1) & 0x3F), 2};
  if (lead < 0xF0 && left >= 3) {
    return {((lead & 0x0F) << 12) | ((byte(1) & 0x3F) << 6) | (byte(2) & 0x3F), 3};
  }
  if (left >= 4) {
    const char32_t c = ((lead & 0x07) << 18) | ((byte(1) & 0x3F) << 12) | ((byte(2) & 0x3F) << 6) |
                       (byte(3) & 0x3F);
    if (c < kEnd) return {c, 4};
  }
  return {kReplacement, 1};
}

}  // namespace pelton::unicode
