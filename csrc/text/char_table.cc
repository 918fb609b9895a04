#include "csrc/text/char_table.h"

#include <algorithm>

#include "csrc/base/check.h"

namespace pelton {

CharTable::CharTable(const Options& options) : index_(unicode::kEnd >> 6, 0) {
  for (uint32_t kind = 0; kind <= static_cast<uint32_t>(Kind::kHangul); ++kind) {
    Block block;
    block.fill(Entry(static_cast<Kind>(kind), 0, 0));
    blocks_.push_back(block);
  }
  shared_count_ = blocks_.size();
  // What comes later in the normalizer is filled in first, so that what comes first prevails.
  fill(unicode::spaces(), Kind::kSpace);
  fill(unicode::isolated(), Kind::kIsolated);
  if (options.lowercase) {
    for (const unicode::CaseRun& run : unicode::case_runs()) {
      for (char32_t c = run.first; c <= run.last; c += run.step) set(c, work_out(c, options));
    }
    for (const auto& expansion : unicode::long_lowercases()) {
      set(expansion.from, work_out(expansion.from, options));
    }
  }
  if (options.strip_accents) {
    fill(std::span(&unicode::kHangul, 1), Kind::kHangul);
    for (const unicode::RankedRange& range : unicode::ranked()) {
      for (char32_t c = range.first; c <= range.last; ++c) set(c, work_out(c, options));
    }
    fill(unicode::marks(), Kind::kRemoved);
  }
  if (options.handle_chinese_chars) fill(unicode::chinese(), Kind::kIsolated);
  if (options.strip_accents) {
    for (const auto& expansion : unicode::decompositions()) {
      set(expansion.from, work_out(expansion.from, options));
    }
  }
  if (options.clean_text) {
    fill(unicode::removed_by_cleaning(), Kind::kRemoved);
    fill(unicode::spaced_by_cleaning(), Kind::kSpace);
  }
}

CharTable::Entry CharTable::work_out(char32_t c, const Options& options) {
  const unicode::Parts parts =
      options.strip_accents ? unicode::decompose(c) : unicode::Parts{{c}, 1};
  std::string text;
  int count = 0, spaces = 0, isolated = 0;
  for (size_t i = 0; i < parts.count; ++i) {
    if (options.strip_accents) {
      if (unicode::contains(unicode::marks(), parts.at[i])) continue;
      if (unicode::combining_rank(parts.at[i]) != 0) return Entry(Kind::kSlow, 0, 0);
    }
    const unicode::Parts lower =
        options.lowercase ? unicode::lowercase(parts.at[i]) : unicode::Parts{{parts.at[i]}, 1};
    for (size_t j = 0; j < lower.count; ++j) {
      char utf8[4];
      text.append(utf8, unicode::write_utf8(lower.at[j], utf8));
      ++count;
      spaces += unicode::contains(unicode::spaces(), lower.at[j]);
      isolated += unicode::contains(unicode::isolated(), lower.at[j]);
    }
  }
  const bool is_chinese = options.handle_chinese_chars && unicode::contains(unicode::chinese(), c);
  Kind kind = Kind::kSlow;
  if (count == 0) {
    kind = Kind::kRemoved;
  } else if (spaces + isolated == 0) {
    kind = is_chinese ? Kind::kIsolated : Kind::kWord;
  } else if (count == 1) {
    kind = isolated != 0 ? Kind::kIsolated : Kind::kSpace;
  }
  if (kind != Kind::kWord && kind != Kind::kIsolated) return Entry(kind, 0, 0);
  const size_t begin = replacements_.size();
  PELTON_CHECK(text.size() < 32 && begin < (size_t{1} << 24));
  replacements_ += text;
  return Entry(kind, begin, text.size());
}

void CharTable::set(char32_t c, Entry entry) {
  uint16_t& index = index_[c >> 6];
  if (index < shared_count_) {
    blocks_.push_back(Block(blocks_[index]));
    index = static_cast<uint16_t>(blocks_.size() - 1);
  }
  blocks_[index][c & 63] = entry;
}

void CharTable::fill(std::span<const unicode::Range> ranges, Kind kind) {
  for (const unicode::Range& range : ranges) {
    for (char32_t c = range.first; c <= range.last;) {
      if ((c & 63) == 0 && c + 63 <= range.last) {
        index_[c >> 6] = static_cast<uint16_t>(kind);
        c += 64;
      } else {
        set(c++, Entry(kind, 0, 0));
      }
    }
  }
}

}  // namespace pelton
