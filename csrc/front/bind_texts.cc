#include <algorithm>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/front/bind_encoder.h"
#include "csrc/plan/utf8.h"

namespace pelton {
namespace {

constexpr std::string_view kText = "text";
constexpr size_t kShownRowsMax = 5;

// text[ROW]: expected EXPECTED, got GOT
ProblemPtr wrong_text(size_t row, const std::string& message_expected,
                      const std::string& message_got, std::string expected, std::string got) {
  std::string field = "text[" + std::to_string(row) + "]";
  auto problem = make_problem(ProblemKind::kInvalidInput,
                              field + ": expected " + message_expected + ", got " + message_got);
  problem->tensor = kText;
  problem->field = std::move(field);
  problem->expected = std::move(expected);
  problem->got = std::move(got);
  return problem;
}

ProblemPtr too_large(size_t row, size_t size, int64_t bytes_max) {
  const std::string most = std::to_string(bytes_max) + " bytes";
  const std::string came = std::to_string(size);
  auto problem = wrong_text(row, "a text of at most " + most, came + " or more", "at most " + most,
                            came + " bytes or more");
  problem->kind = ProblemKind::kPayloadTooLarge;
  return problem;
}

bool is_ascii(std::string_view text) {
  uint64_t bits = 0;
  size_t i = 0;
  for (; i + sizeof(bits) <= text.size(); i += sizeof(bits)) {
    uint64_t word;
    std::memcpy(&word, text.data() + i, sizeof(word));
    bits |= word;
  }
  for (; i < text.size(); ++i) bits |= static_cast<uint8_t>(text[i]);
  return (bits & 0x8080'8080'8080'8080) == 0;
}

// REQUIRES: `text` is UTF-8.
size_t character_count(std::string_view text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char byte) { return (static_cast<uint8_t>(byte) >> 6) != 2; }));
}

ProblemPtr check_size(std::string_view text, TextForm form, size_t row, int64_t bytes_max) {
  const auto size_max = static_cast<size_t>(bytes_max);
  if (text.size() <= size_max) return nullptr;
  // A string is measured by its characters before it is turned into bytes.
  const size_t characters = form == TextForm::kString ? character_count(text) : text.size();
  return too_large(row, characters > size_max ? characters : text.size(), bytes_max);
}

ProblemPtr check_text(std::string_view text, TextForm form, size_t row, int64_t bytes_max) {
  PELTON_RETURN_IF_PROBLEM(check_size(text, form, row, bytes_max));
  if (form == TextForm::kBytes && !is_ascii(text)) {
    const size_t valid = utf8_prefix_bytes(text);
    if (valid < text.size()) {
      const std::string place = "byte " + std::to_string(valid);
      return wrong_text(row, "UTF-8", "something else at " + place, "UTF-8",
                        "an invalid sequence at " + place);
    }
  }
  const size_t nul = text.find('\0');
  if (nul == std::string_view::npos) return nullptr;
  const std::string place = "character " + std::to_string(character_count(text.substr(0, nul)));
  return wrong_text(row, "a text without NUL", "one at " + place, "a text without NUL",
                    "NUL at " + place);
}

// Rows over the model's limit of tokens: the first with its length, the others by number.
class LongRows {
 public:
  void add(size_t row, int64_t token_count) {
    if (count_ == 0) first_tokens_ = token_count;
    if (count_ < kShownRowsMax) shown_[count_] = row;
    ++count_;
  }
  size_t count() const { return count_; }
  // REQUIRES: count() > 0.
  ProblemPtr problem(int64_t tokens_max) const {
    const std::string most = "at most " + std::to_string(tokens_max) + " tokens";
    const std::string came = std::to_string(first_tokens_);
    return wrong_text(shown_[0], most,
                      came + others() + "; send \"truncate\": true to have long texts cut", most,
                      came + " tokens");
  }

 private:
  std::string others() const {
    if (count_ < 2) return {};
    std::string text = " (rows over the limit: ";
    for (size_t i = 0; i < std::min(count_, kShownRowsMax); ++i) {
      if (i > 0) text += ", ";
      text += std::to_string(shown_[i]);
    }
    return text += count_ > kShownRowsMax ? ", …)" : ")";
  }

  size_t count_ = 0;
  size_t shown_[kShownRowsMax] = {};
  int64_t first_tokens_ = 0;
};

}  // namespace

ProblemPtr bind_text_rows(const EncoderContract& encoder, std::span<const std::string_view> texts,
                          TextForm form, std::optional<bool> truncate, BoundRequest& bound) {
  PELTON_CHECK(encoder.tokenizer != nullptr);
  for (size_t row = 0; row < texts.size(); ++row) {
    PELTON_RETURN_IF_PROBLEM(check_text(texts[row], form, row, encoder.text_bytes_max));
  }
  LongRows over;
  for (size_t row = 0; row < texts.size(); ++row) {
    const size_t begin = bound.ids.size();
    const int64_t uncut = encoder.tokenizer->encode(texts[row], encoder.tokens_max, bound.ids);
    if (uncut > encoder.tokens_max) over.add(row, uncut);
    bound.lengths.push_back(static_cast<int32_t>(bound.ids.size() - begin));
  }
  if (over.count() > 0 && !truncate.value_or(encoder.truncate)) {
    return over.problem(encoder.tokens_max);
  }
  bound.truncated = static_cast<int64_t>(over.count());
  pack_tokens(encoder, bound);
  return nullptr;
}

}  // namespace pelton
