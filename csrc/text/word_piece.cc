#include "csrc/text/word_piece.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "csrc/text/byte_trie.h"
#include "csrc/text/char_table.h"
#include "csrc/text/unicode.h"

namespace pelton {
namespace {

// What a byte of the text begins.
enum class ByteKind : uint8_t { kWord, kSpace, kIsolated, kOther };

Status check_options(const WordPiece::Options& options) {
  if (options.word_chars_max < 1 || options.word_chars_max > WordPiece::kWordCharsMax) {
    return invalid_argument("word_chars_max: expected 1 to " +
                            std::to_string(WordPiece::kWordCharsMax) + ", got " +
                            std::to_string(options.word_chars_max));
  }
  const auto negative = [](int32_t id) { return id < 0; };
  if (std::any_of(options.added_tokens.begin(), options.added_tokens.end(),
                  [](const auto& token) { return token.id < 0 || token.content.empty(); }) ||
      std::any_of(options.prefix.begin(), options.prefix.end(), negative) ||
      std::any_of(options.suffix.begin(), options.suffix.end(), negative)) {
    return invalid_argument(
        "special tokens: expected ids of 0 and above and contents, got one without");
  }
  return {};
}

Status in(std::string_view where, const Status& status) {
  if (status.ok()) return {};
  return invalid_argument(std::string(where) + ": " + std::string(status.message()));
}

Result<ByteTrie> vocabulary_trie(const std::vector<std::string>& vocabulary) {
  std::vector<ByteTrie::Entry> entries;
  entries.reserve(vocabulary.size());
  for (const std::string& token : vocabulary) {
    entries.push_back({token, static_cast<int32_t>(entries.size())});
  }
  return ByteTrie::create(entries);
}

Result<ByteTrie> added_trie(const std::vector<WordPiece::AddedToken>& tokens) {
  std::vector<ByteTrie::Entry> entries;
  for (const WordPiece::AddedToken& token : tokens) entries.push_back({token.content, token.id});
  return ByteTrie::create(entries);
}

std::optional<ByteTrie::State> state_of(const ByteTrie& pieces, std::string_view text) {
  ByteTrie::State state = ByteTrie::kRoot;
  for (const char c : text) {
    if (!pieces.step(state, static_cast<uint8_t>(c))) return std::nullopt;
  }
  return state;
}

std::optional<int32_t> id_of(const ByteTrie& pieces, std::string_view token) {
  const auto state = state_of(pieces, token);
  if (!state || !pieces.is_key(*state)) return std::nullopt;
  return pieces.value(*state);
}

}  // namespace

class WordPiece::Impl {
 public:
  // REQUIRES: the unknown token is a key of `vocabulary`.
  Impl(const Options& options, ByteTrie vocabulary, ByteTrie added_tokens)
      : clean_text(options.clean_text),
        strip_accents(options.strip_accents),
        lowercase(options.lowercase),
        word_chars_max(options.word_chars_max),
        prefix(options.prefix),
        suffix(options.suffix),
        pieces(std::move(vocabulary)),
        added(std::move(added_tokens)),
        chars({options.clean_text, options.handle_chinese_chars, options.strip_accents,
               options.lowercase}),
        continuing(state_of(pieces, options.continuing_prefix)),
        unknown(*id_of(pieces, options.unknown_token)),
        vocabulary_size(static_cast<int64_t>(options.vocabulary.size())) {
    for (const AddedToken& token : options.added_tokens) {
      vocabulary_size += !id_of(pieces, token.content).has_value();
      begins_added[static_cast<uint8_t>(token.content[0])] = true;
    }
    for (int byte = 0; byte < 256; ++byte) set_byte(static_cast<uint8_t>(byte));
  }

  const bool clean_text;
  const bool strip_accents;
  const bool lowercase;
  const int word_chars_max;
  const std::vector<int32_t> prefix;
  const std::vector<int32_t> suffix;
  const ByteTrie pieces;
  const ByteTrie added;
  const CharTable chars;
  // Where pieces that do not begin a word are: behind the prefix; nullopt: there are none.
  const std::optional<ByteTrie::State> continuing;
  const int32_t unknown;
  int64_t vocabulary_size;
  std::array<bool, 256> begins_added{};
  std::array<ByteKind, 256> kinds{};
  std::array<uint8_t, 256> folded{};    // lower case of ASCII, where that is wanted
  std::array<int32_t, 128> isolated{};  // ids of isolated ASCII characters

 private:
  void set_byte(uint8_t byte) {
    folded[byte] = byte;
    kinds[byte] = ByteKind::kOther;
    if (byte >= 0x80) return;
    if (lowercase && byte >= 'A' && byte <= 'Z') folded[byte] = static_cast<uint8_t>(byte | 0x20);
    const char text = static_cast<char>(byte);
    switch (chars.at(byte).kind()) {
      case CharTable::Kind::kWord:
        kinds[byte] = ByteKind::kWord;
        break;
      case CharTable::Kind::kSpace:
        kinds[byte] = ByteKind::kSpace;
        break;
      case CharTable::Kind::kIsolated:
        kinds[byte] = ByteKind::kIsolated;
        isolated[byte] = id_of(pieces, {&text, 1}).value_or(unknown);
        break;
      default:
        break;
    }
  }
};

// One text on its way to ids.
class WordPiece::Encoding {
 public:
  // At most `ids_max` are appended to `ids`.
  Encoding(const Impl& model, int64_t ids_max, std::vector<int32_t>& ids)
      : model_(model), ids_(ids), ids_begin_(ids.size()), ids_max_(ids_max) {}

  void add(int32_t id) {
    if (count_ < ids_max_) ids_.push_back(id);
    ++count_;
  }
  int64_t count() const { return count_; }

  // Text with added tokens in it.
  void add_text(const char* begin, const char* end) {
    const char* segment = begin;
    for (const char* at = begin; at != end;) {
      if (!model_.begins_added[byte(at)]) {
        ++at;
        continue;
      }
      const Match match = longest(model_.added, ByteTrie::kRoot, at, end, nullptr);
      if (match.end == nullptr) {
        ++at;
        continue;
      }
      add_segment(segment, at);
      add(match.id);
      segment = at = match.end;
    }
    add_segment(segment, end);
  }

 private:
  struct Match {
    const char* end = nullptr;  // nullptr: none
    int32_t id = 0;
  };

  static uint8_t byte(const char* at) { return static_cast<uint8_t>(*at); }

  // The longest key of `trie` below `state` that the text begins with.
  static Match longest(const ByteTrie& trie, ByteTrie::State state, const char* begin,
                       const char* end, const uint8_t* folded) {
    Match match;
    for (const char* at = begin; at != end; ++at) {
      if (!trie.step(state, folded == nullptr ? byte(at) : folded[byte(at)])) break;
      if (trie.is_key(state)) match = {at + 1, trie.value(state)};
    }
    return match;
  }

  void add_segment(const char* at, const char* end) {
    while (at != end) {
      switch (model_.kinds[byte(at)]) {
        case ByteKind::kSpace:
          ++at;
          break;
        case ByteKind::kWord:
          at = add_ascii_word(at, end);
          break;
        case ByteKind::kIsolated:
          add(model_.isolated[byte(at)]);
          ++at;
          break;
        case ByteKind::kOther:
          at = add_word(at, at, end);
          break;
      }
    }
  }

  // The word that begins at `begin`, looked up while its end is looked for.
  const char* add_ascii_word(const char* begin, const char* end) {
    ByteTrie::State state = ByteTrie::kRoot;
    const char* at = begin;
    while (at != end && is_word(at) && model_.pieces.step(state, model_.folded[byte(at)])) ++at;
    const bool known = (at == end || !is_word(at)) && model_.pieces.is_key(state);
    while (at != end && is_word(at)) ++at;
    if (at != end && model_.kinds[byte(at)] == ByteKind::kOther) return add_word(begin, at, end);
    if (at - begin > model_.word_chars_max) {
      add(model_.unknown);
    } else if (known) {
      add(model_.pieces.value(state));
    } else {
      add_pieces(begin, at);
    }
    return at;
  }
  bool is_word(const char* at) const { return model_.kinds[byte(at)] == ByteKind::kWord; }

  // The word whose ASCII characters are [begin, at), to its end; then what ended it.
  const char* add_word(const char* begin, const char* at, const char* end) {
    for (; begin != at; ++begin) {
      const char folded = static_cast<char>(model_.folded[byte(begin)]);
      append({&folded, 1});
    }
    while (at != end) {
      const auto [c, bytes] = unicode::read_utf8(at, end);
      const CharTable::Entry entry = model_.chars.at(c);
      const char* const next = at + bytes;
      switch (entry.kind()) {
        case CharTable::Kind::kWord:
          append(text_of(entry, at, next));
          break;
        case CharTable::Kind::kRemoved:
          break;
        case CharTable::Kind::kSpace:
          end_word();
          return next;
        case CharTable::Kind::kIsolated:
          end_word();
          append(text_of(entry, at, next));
          end_word();
          return next;
        case CharTable::Kind::kHangul:
        case CharTable::Kind::kSlow:
          at = add_parts(c, next, end);
          continue;
      }
      at = next;
    }
    end_word();
    return at;
  }
  std::string_view text_of(CharTable::Entry entry, const char* at, const char* next) const {
    if (entry.bytes() != 0) return model_.chars.replacement(entry);
    return {at, static_cast<size_t>(next - at)};
  }

  // `c`, decomposed and put in order with the combining characters behind it, from `at` on.
  // Returns what comes after them.
  const char* add_parts(char32_t c, const char* at, const char* end) {
    const unicode::Parts parts = decompose(c);
    uint64_t ranks = 0;  // of those that are not stripped
    const auto note = [&](char32_t part, int rank) {
      if (!is_stripped(part)) ranks |= uint64_t{1} << rank;
    };
    for (size_t i = 0; i < parts.count; ++i) {
      const int rank = rank_of(parts.at[i]);
      if (rank != 0) {
        note(parts.at[i], rank);
      } else if (!is_stripped(parts.at[i])) {
        add_part(parts.at[i]);
      }
    }
    if (ranks == 0) return at;
    const char* const run_end = for_each_ranked(parts, at, end, note);
    // One pass per rank keeps the order within it, and needs no memory.
    for (; ranks != 0; ranks &= ranks - 1) {
      const int wanted = std::countr_zero(ranks);
      for_each_ranked(parts, at, run_end, [&](char32_t part, int rank) {
        if (rank == wanted && !is_stripped(part)) add_part(part);
      });
    }
    return run_end;
  }

  // Calls visit(part, rank) for the parts with a rank of `first` and of the characters from `at`
  // on, to the first starter; returns where that is.
  template <typename Visit>
  const char* for_each_ranked(const unicode::Parts& first, const char* at, const char* end,
                              Visit visit) const {
    for (size_t i = 0; i < first.count; ++i) {
      if (const int rank = rank_of(first.at[i]); rank != 0) visit(first.at[i], rank);
    }
    while (at != end) {
      const auto [c, bytes] = unicode::read_utf8(at, end);
      if (!model_.clean_text || !unicode::contains(unicode::removed_by_cleaning(), c)) {
        const unicode::Parts parts = decompose(c);
        for (size_t i = 0; i < parts.count; ++i) {
          const int rank = rank_of(parts.at[i]);
          if (rank == 0) return at;
          visit(parts.at[i], rank);
        }
      }
      at += bytes;
    }
    return at;
  }
  unicode::Parts decompose(char32_t c) const {
    return model_.strip_accents ? unicode::decompose(c) : unicode::Parts{{c}, 1};
  }
  int rank_of(char32_t part) const {
    return model_.strip_accents ? unicode::combining_rank(part) : 0;
  }
  bool is_stripped(char32_t part) const {
    return model_.strip_accents && unicode::contains(unicode::marks(), part);
  }

  // One code point of decomposed text.
  void add_part(char32_t part) {
    const unicode::Parts lower =
        model_.lowercase ? unicode::lowercase(part) : unicode::Parts{{part}, 1};
    for (size_t i = 0; i < lower.count; ++i) {
      char utf8[4];
      const std::string_view text(utf8, unicode::write_utf8(lower.at[i], utf8));
      if (unicode::contains(unicode::spaces(), lower.at[i])) {
        end_word();
      } else if (unicode::contains(unicode::isolated(), lower.at[i])) {
        end_word();
        append(text);
        end_word();
      } else {
        append(text);
      }
    }
  }

  // Normalized characters of the current word. What makes it too long is counted, not kept.
  void append(std::string_view text) {
    if (word_chars_ <= model_.word_chars_max && word_bytes_ + text.size() <= kWordBytesMax) {
      std::memcpy(word_ + word_bytes_, text.data(), text.size());
      word_bytes_ += text.size();
    }
    for (const char c : text) word_chars_ += (static_cast<uint8_t>(c) & 0xC0) != 0x80;
  }

  void end_word() {
    if (word_chars_ > model_.word_chars_max) {
      add(model_.unknown);
    } else if (word_bytes_ != 0) {
      add_pieces(word_, word_ + word_bytes_);
    }
    word_bytes_ = 0;
    word_chars_ = 0;
  }

  // The longest piece first, then the longest that goes on from there; all or unknown.
  void add_pieces(const char* at, const char* end) {
    const int64_t before = count_;
    std::optional<ByteTrie::State> state = ByteTrie::kRoot;
    while (at != end) {
      Match match;
      if (state) match = longest(model_.pieces, *state, at, end, model_.folded.data());
      if (match.end == nullptr) {
        count_ = before;
        ids_.resize(ids_begin_ + static_cast<size_t>(std::min(before, ids_max_)));
        add(model_.unknown);
        return;
      }
      add(match.id);
      at = match.end;
      state = model_.continuing;
    }
  }

  // A word of UTF-8 that is not yet too long has room for one more character, of 31 bytes at most.
  static constexpr size_t kWordBytesMax = size_t{kWordCharsMax} * 4 + 32;

  const Impl& model_;
  std::vector<int32_t>& ids_;
  const size_t ids_begin_;
  const int64_t ids_max_;
  int64_t count_ = 0;
  size_t word_bytes_ = 0;
  int64_t word_chars_ = 0;
  char word_[kWordBytesMax];
};

Result<std::unique_ptr<const WordPiece>> WordPiece::create(const Options& options) {
  PELTON_RETURN_IF_ERROR(check_options(options));
  auto pieces = vocabulary_trie(options.vocabulary);
  PELTON_RETURN_IF_ERROR(in("vocabulary", pieces.status()));
  auto added = added_trie(options.added_tokens);
  PELTON_RETURN_IF_ERROR(in("added tokens", added.status()));
  if (!id_of(pieces.value(), options.unknown_token)) {
    return invalid_argument("vocabulary: expected the unknown token '" + options.unknown_token +
                            "' in it, got none");
  }
  return std::unique_ptr<const WordPiece>(new WordPiece(
      std::make_unique<const Impl>(options, std::move(pieces).value(), std::move(added).value())));
}

WordPiece::WordPiece(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
WordPiece::~WordPiece() = default;

int64_t WordPiece::encode(std::string_view text, int64_t tokens_max,
                          std::vector<int32_t>& ids) const {
  const auto suffix_count = static_cast<int64_t>(impl_->suffix.size());
  Encoding encoding(*impl_, tokens_max - suffix_count, ids);
  for (const int32_t id : impl_->prefix) encoding.add(id);
  encoding.add_text(text.data(), text.data() + text.size());
  ids.insert(ids.end(), impl_->suffix.begin(), impl_->suffix.end());
  return encoding.count() + suffix_count;
}

int64_t WordPiece::special_count() const {
  return static_cast<int64_t>(impl_->prefix.size() + impl_->suffix.size());
}

int64_t WordPiece::vocabulary_size() const { return impl_->vocabulary_size; }

}  // namespace pelton
