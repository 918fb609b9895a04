// WordPiece: the tokenizer of BERT-family encoders (BertNormalizer, BertPreTokenizer, WordPiece,
// one template of special tokens), equal to the `tokenizers` package token by token.
// Source of the algorithm: Wu et al. 2016, "Google's Neural Machine Translation System" (greedy
// longest match first); the switches are those of Devlin et al. 2018, "BERT".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/status.h"

namespace pelton {

// Immutable. Thread-safe: encode() from any thread.
class WordPiece {
 public:
  static constexpr int kWordCharsMax = 1000;

  // A token that is cut out of the text before it is normalized, such as "[SEP]". White space
  // around it makes no token, so it does not matter whether the token takes that along.
  struct AddedToken {
    std::string content;
    int32_t id = 0;
  };
  struct Options {
    std::vector<std::string> vocabulary;  // by id
    std::string unknown_token = "[UNK]";
    std::string continuing_prefix = "##";
    int word_chars_max = 100;  // 1 to kWordCharsMax; longer words are unknown
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool strip_accents = true;
    bool lowercase = true;
    std::vector<AddedToken> added_tokens;
    std::vector<int32_t> prefix;  // ids before every text ([CLS])
    std::vector<int32_t> suffix;  // ids behind it ([SEP])
  };
  // kInvalidArgument: a vocabulary with a token twice or without the unknown token, an empty added
  // token or one twice, a negative id, a word_chars_max out of range.
  static Result<std::unique_ptr<const WordPiece>> create(const Options& options);
  ~WordPiece();

  // Appends the ids of `text`, special ones included, to `ids`: all of them, or, when there are
  // more than tokens_max, the first ones cut so that prefix and suffix stay. Returns how many there
  // are uncut. Allocates nothing but what `ids` grows by. Takes time in proportion to the bytes of
  // the text, at worst times the bytes of the longest token. What is no UTF-8 is taken for some
  // other characters. REQUIRES: tokens_max >= special_count().
  int64_t encode(std::string_view text, int64_t tokens_max, std::vector<int32_t>& ids) const;

  // Ids that every text gets: prefix and suffix.
  int64_t special_count() const;
  // Tokens, added ones included.
  int64_t vocabulary_size() const;

 private:
  class Impl;
  class Encoding;
  explicit WordPiece(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;
};

}  // namespace pelton
