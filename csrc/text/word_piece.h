// WordPiece: the tokenizer of BERT-family encoders (BertNormalizer, BertPreTokenizer, WordPiece,
// one template of special tokens), equal to the `tokenizers` package token by token.
// Source of the algorithm: Wu et al. 2016 (greedy longest match first); Song et al. 2021 for the
// linear-time form, where it is used.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/status.h"

namespace pelton {

// Thread-safe: encode() from any thread.
class WordPiece {
 public:
  // A token that is cut out of the text before it is normalized, such as "[SEP]".
  struct AddedToken {
    std::string content;
    int32_t id = 0;
    bool single_word = false;
    bool lstrip = false;
    bool rstrip = false;
    bool normalized = false;
  };
  struct Options {
    std::vector<std::string> vocabulary;  // by id
    std::string unknown_token = "[UNK]";
    std::string continuing_prefix = "##";
    int word_chars_max = 100;
    bool clean_text = true;
    bool handle_chinese_chars = true;
    bool lowercase = true;
    bool strip_accents = true;
    std::vector<AddedToken> added_tokens;
    std::vector<int32_t> prefix;  // ids before every text ([CLS])
    std::vector<int32_t> suffix;  // ids behind it ([SEP])
  };
  // kInvalidArgument: a vocabulary without the unknown token, duplicate or bad ids.
  static Result<std::unique_ptr<const WordPiece>> create(Options options);

  // Appends the ids of `text`, special ones included, to `ids`: all of them, or, when there are
  // more than tokens_max, the first ones cut so that prefix and suffix stay. Returns how many there
  // are uncut. REQUIRES: `text` is UTF-8; tokens_max >= prefix and suffix.
  int64_t encode(std::string_view text, int64_t tokens_max, std::vector<int32_t>& ids) const;

 private:
  class Impl;
  explicit WordPiece(std::unique_ptr<const Impl> impl);
  std::unique_ptr<const Impl> impl_;

 public:
  ~WordPiece();
};

}  // namespace pelton
