#include "csrc/text/unicode.h"

#include <algorithm>
#include <iterator>

namespace pelton::unicode {
namespace {

#include "csrc/text/unicode_tables.inc"

static_assert(std::all_of(std::begin(kRanks), std::end(kRanks), [](const RankedRange& range) {
  return range.rank > 0 && range.rank < kRanksMax;
}));

// The range or run that may hold `c`: the last one that begins at or below it.
template <typename T>
const T* find_range(std::span<const T> ranges, char32_t c) {
  const auto above = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](char32_t a, const T& b) { return a < b.first; });
  if (above == ranges.begin() || c > std::prev(above)->last) return nullptr;
  return &*std::prev(above);
}

Parts expand(std::span<const Expansion> expansions, char32_t c) {
  const auto found = std::lower_bound(expansions.begin(), expansions.end(), c,
                                      [](const Expansion& a, char32_t b) { return a.from < b; });
  if (found == expansions.end() || found->from != c) return {{c}, 1};
  Parts parts;
  while (parts.count < kPartsMax && found->to[parts.count] != 0) {
    parts.at[parts.count] = found->to[parts.count];
    ++parts.count;
  }
  return parts;
}

}  // namespace

std::span<const Range> removed_by_cleaning() { return kRemovedByCleaning; }
std::span<const Range> spaced_by_cleaning() { return kSpacedByCleaning; }
std::span<const Range> chinese() { return kChinese; }
std::span<const Range> spaces() { return kSpaces; }
std::span<const Range> isolated() { return kIsolated; }
std::span<const Range> marks() { return kMarks; }
std::span<const RankedRange> ranked() { return kRanks; }
std::span<const Expansion> decompositions() { return kDecompositions; }
std::span<const CaseRun> case_runs() { return kLower; }
std::span<const Expansion> long_lowercases() { return kLongLower; }

bool contains(std::span<const Range> ranges, char32_t c) {
  return find_range(ranges, c) != nullptr;
}

int combining_rank(char32_t c) {
  const RankedRange* const range = find_range<RankedRange>(kRanks, c);
  return range == nullptr ? 0 : range->rank;
}

Parts decompose(char32_t c) {
  if (c < kHangul.first || c > kHangul.last) return expand(kDecompositions, c);
  const char32_t syllable = c - kHangul.first;
  const char32_t tail = syllable % 28;
  Parts parts{{0x1100 + syllable / 588, 0x1161 + syllable % 588 / 28}, 2};
  if (tail != 0) parts.at[parts.count++] = 0x11A7 + tail;
  return parts;
}

Parts lowercase(char32_t c) {
  const CaseRun* const run = find_range<CaseRun>(kLower, c);
  if (run == nullptr || (c - run->first) % run->step != 0) return expand(kLongLower, c);
  return {{static_cast<char32_t>(static_cast<int32_t>(c) + run->delta)}, 1};
}

}  // namespace pelton::unicode
