#include "csrc/wire/json_document.h"

#include <algorithm>
#include <array>
#include <string>

#include "csrc/wire/json_refusal.h"
#include "csrc/wire/json_scan.h"
#include "csrc/wire/json_text.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

// What parse() keeps for the next text.
constexpr size_t kNodesKeptMax = 4096;
// Names of an object that are compared each with each; more are sorted.
constexpr size_t kKeysComparedMax = 16;
constexpr size_t kTextBytesMax = (size_t{1} << 31) - 1;

bool begins_number(char c) { return is_digit(c) || c == '-' || c == 'N' || c == 'I'; }

// The end of a number that was scanned before.
const char* known_number_end(const char* at, const char* end) {
  while (at < end && *at != ',' && *at != ']' && *at != '}' && !is_json_space(*at)) ++at;
  return at;
}

template <typename T>
void clear_and_bound(std::vector<T>& items, size_t kept_max) {
  items.clear();
  if (items.capacity() > kept_max) std::vector<T>().swap(items);
}

}  // namespace

std::string_view JsonValue::number() const { return text(); }

bool JsonValue::is_integer() const {
  return text().find_first_of(".eENI") == std::string_view::npos;
}

uint32_t JsonValue::first_number() const {
  const JsonDocument::Node& node = document_->nodes_[node_];
  const char* const text = document_->text_.data();
  const char* const first = skip_json_space(text + node.begin + 1, text + node.end);
  return kInText | static_cast<uint32_t>(first - text);
}

uint32_t JsonValue::next_number() const {
  const char* const text = document_->text_.data();
  const char* const end = text + document_->text_.size();
  const char* at = skip_json_space(known_number_end(text + offset(), end), end);
  if (*at != ',') return 0;
  at = skip_json_space(at + 1, end);
  return kInText | static_cast<uint32_t>(at - text);
}

std::optional<JsonValue> JsonValue::find(std::string_view name) const {
  for (auto member = first_member(); member; member = member->next()) {
    if (member->key() == name) return member;
  }
  return std::nullopt;
}

std::string_view JsonValue::text() const {
  const std::string_view text = document_->text_;
  if (!is_in_text()) {
    const JsonDocument::Node& node = document_->nodes_[node_];
    return text.substr(node.begin, node.end - node.begin);
  }
  const char* const begin = text.data() + offset();
  const char* const end = known_number_end(begin, text.data() + text.size());
  return {begin, static_cast<size_t>(end - begin)};
}

// Reads a text into nodes; says only whether it is JSON within the limits. REQUIRES: the text is
// not empty.
class JsonParser {
 public:
  JsonParser(JsonDocument& document, const DecodeLimits& limits, Scratch& scratch)
      : document_(document),
        nodes_(document.nodes_),
        limits_(limits),
        scratch_(scratch),
        begin_(document.text_.data()),
        end_(begin_ + document.text_.size()),
        at_(begin_),
        depth_max_(std::min(limits.rank_max + kJsonOuterLevels, kLevelsMax)) {}

  bool parse() {
    if (quotes_may_be_too_many()) return false;
    at_ = skip_json_space(at_, end_);
    if (!read_value()) return false;
    while (depth_ > 0) {
      if (!read_next()) return false;
    }
    if (skip_json_space(at_, end_) != end_) return false;
    if (!within_limits()) return false;
    if (document_.has_infinity_ && may_overflow_) {
      // Such a text is refused, if some number does not fit: let the oracle's twin look.
      return refuse_json(document_.text_, limits_) == nullptr;
    }
    return !has_high_bytes_ || is_utf8(document_.text_);
  }

 private:
  static constexpr int kLevelsMax = 32;
  struct Level {
    uint32_t node;
    uint32_t last;  // the value before; 0: none yet
    uint32_t size;
    bool is_object;
  };

  // Every quotation mark counts, also an escaped one: a count of its own, for large texts only.
  bool quotes_may_be_too_many() const {
    const std::string_view text = document_.text_;
    return static_cast<int64_t>(text.size()) > 2 * limits_.nodes_max &&
           std::count(text.begin(), text.end(), '"') > 2 * limits_.nodes_max;
  }
  bool within_limits() const {
    return containers_ <= limits_.containers_max && containers_ + commas_ <= limits_.nodes_max;
  }

  uint32_t position(const char* at) const { return static_cast<uint32_t>(at - begin_); }
  char peek() const { return at_ < end_ ? *at_ : '\0'; }

  uint32_t add_node(JsonKind kind, const char* begin) {
    nodes_.push_back({position(begin), position(at_), 0, 0, kind, false});
    return static_cast<uint32_t>(nodes_.size() - 1);
  }

  // Links the value that comes next, at nodes_.size(), to the one before it.
  void link_value() {
    if (depth_ == 0) return;
    Level& level = levels_[static_cast<size_t>(depth_ - 1)];
    const auto node = static_cast<uint32_t>(nodes_.size());
    if (level.size > 0) nodes_[level.last].next = node;
    level.last = node;
    ++level.size;
  }

  // A value whose containers stay open. REQUIRES: no white space before it.
  bool read_value() {
    switch (peek()) {
      case '"':
        link_value();
        return read_string();
      case '{':
        link_value();
        return open(true);
      case '[':
        link_value();
        return open(false);
      case 't':
        return read_word("true", JsonKind::kTrue);
      case 'f':
        return read_word("false", JsonKind::kFalse);
      case 'n':
        return read_word("null", JsonKind::kNull);
      default:
        return read_number_node();
    }
  }

  bool read_word(std::string_view word, JsonKind kind) {
    if (!begins_with(at_, end_, word)) return false;
    link_value();
    const char* const begin = at_;
    at_ += word.size();
    add_node(kind, begin);
    return true;
  }

  bool take_number() {
    const NumberScan scan = scan_number(at_, end_, true);
    if (scan.end == nullptr || scan.digits_in_line > limits_.digits_max) return false;
    document_.has_infinity_ |= scan.is_infinity;
    may_overflow_ |= scan.may_overflow;
    at_ = scan.end;
    return true;
  }

  bool read_number_node() {
    if (at_ == end_) return false;
    const char* const begin = at_;
    if (!take_number()) return false;
    link_value();
    add_node(JsonKind::kNumber, begin);
    return true;
  }

  bool open(bool is_object) {
    if (depth_ == depth_max_ || ++containers_ > limits_.containers_max) return false;
    const char* const begin = at_++;
    const uint32_t node = add_node(is_object ? JsonKind::kObject : JsonKind::kArray, begin);
    at_ = skip_json_space(at_, end_);
    if (peek() == (is_object ? '}' : ']')) {
      ++at_;
      nodes_[node].end = position(at_);
      return true;
    }
    if (!is_object && begins_number(peek()) && read_number_list(node)) return true;
    levels_[static_cast<size_t>(depth_++)] = {node, 0, 0, is_object};
    return is_object ? read_member() : read_value();
  }

  // The rest of an array if it holds numbers only; else nothing is read.
  bool read_number_list(uint32_t node) {
    const char* const begin = at_;
    const bool had_infinity = document_.has_infinity_;
    uint32_t count = 0;
    while (at_ < end_ && begins_number(*at_) && take_number()) {
      ++count;
      at_ = skip_json_space(at_, end_);
      const char after = peek();
      if (after == ',') {
        at_ = skip_json_space(at_ + 1, end_);
        continue;
      }
      if (after != ']') break;
      ++at_;
      commas_ += count - 1;
      nodes_[node].end = position(at_);
      nodes_[node].size = count;
      nodes_[node].is_number_list = true;
      return true;
    }
    at_ = begin;
    document_.has_infinity_ = had_infinity;
    return false;
  }

  // A name and its value, whose containers stay open.
  bool read_member() {
    if (peek() != '"') return false;
    if (!read_string()) return false;
    at_ = skip_json_space(at_, end_);
    if (peek() != ':') return false;
    at_ = skip_json_space(at_ + 1, end_);
    return read_value();
  }

  // What follows a value: the next one, or the end of its container.
  bool read_next() {
    Level& level = levels_[static_cast<size_t>(depth_ - 1)];
    at_ = skip_json_space(at_, end_);
    if (peek() == ',') {
      if (containers_ + ++commas_ > limits_.nodes_max) return false;
      at_ = skip_json_space(at_ + 1, end_);
      return level.is_object ? read_member() : read_value();
    }
    if (peek() != (level.is_object ? '}' : ']')) return false;
    ++at_;
    nodes_[level.node].end = position(at_);
    nodes_[level.node].size = level.size;
    --depth_;
    return !level.is_object || keys_are_unique(level.node);
  }

  bool read_string() {
    const char* const begin = at_++;
    while (end_ - at_ >= 8) {
      const uint64_t word = load_word(at_);
      has_high_bytes_ |= (word & kHighBits) != 0;
      const uint64_t mask = match_byte(word, '"') | match_byte(word, '\\') | match_control(word);
      if (mask != 0) {
        at_ += first_byte(mask);
        return end_string(begin);
      }
      at_ += 8;
    }
    for (; at_ < end_; ++at_) {
      const auto byte = static_cast<uint8_t>(*at_);
      has_high_bytes_ |= byte >= 0x80;
      if (byte == '"' || byte == '\\' || byte < 0x20) return end_string(begin);
    }
    return false;
  }

  // At the first byte that is not plain.
  bool end_string(const char* begin) {
    if (*at_ == '\\') return read_escaped_string(begin);
    if (*at_ != '"') return false;
    ++at_;
    add_node(JsonKind::kString, begin);
    return true;
  }

  bool read_escaped_string(const char* begin) {
    const char* close = at_;
    while (close < end_ && *close != '"') close += *close == '\\' ? 2 : 1;
    if (close >= end_) return false;
    char* const decoded =
        reinterpret_cast<char*>(scratch_.allocate(static_cast<size_t>(close - begin), 1));
    char* out = std::copy(begin + 1, at_, decoded);
    while (at_ < close) {
      const auto byte = static_cast<uint8_t>(*at_);
      if (byte < 0x20) return false;
      has_high_bytes_ |= byte >= 0x80;
      if (byte != '\\') {
        *out++ = *at_++;
        continue;
      }
      const EscapeScan escape = scan_escape(at_, close);
      if (escape.bytes == 0) return false;
      out += write_code_point(escape.code_point, out);
      at_ += escape.bytes;
    }
    ++at_;
    const uint32_t node = add_node(JsonKind::kString, begin);
    document_.decoded_.push_back({decoded, static_cast<size_t>(out - decoded)});
    nodes_[node].size = static_cast<uint32_t>(document_.decoded_.size());
    return true;
  }

  bool keys_are_unique(uint32_t object) {
    const size_t count = nodes_[object].size;
    if (count < 2) return true;
    std::array<std::string_view, kKeysComparedMax> few;
    std::vector<std::string_view>& many = document_.keys_;
    if (count > few.size()) many.resize(count);
    std::string_view* const keys = count > few.size() ? many.data() : few.data();
    size_t index = 0;
    for (auto member = JsonValue(&document_, object).first_member(); member;
         member = member->next()) {
      keys[index++] = member->key();
    }
    if (count > few.size()) {
      std::sort(keys, keys + count);
      return std::adjacent_find(keys, keys + count) == keys + count;
    }
    for (size_t i = 1; i < count; ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (keys[i].size() == keys[j].size() && keys[i] == keys[j]) return false;
      }
    }
    return true;
  }

  JsonDocument& document_;
  std::vector<JsonDocument::Node>& nodes_;
  const DecodeLimits& limits_;
  Scratch& scratch_;
  const char* const begin_;
  const char* const end_;
  const char* at_;
  const int depth_max_;
  int depth_ = 0;
  int64_t containers_ = 0;
  int64_t commas_ = 0;
  bool has_high_bytes_ = false;
  bool may_overflow_ = false;
  std::array<Level, kLevelsMax> levels_;
};

void JsonDocument::clear() {
  text_ = {};
  clear_and_bound(nodes_, kNodesKeptMax);
  clear_and_bound(decoded_, kNodesKeptMax);
  clear_and_bound(keys_, kNodesKeptMax);
  has_infinity_ = false;
}

ProblemPtr JsonDocument::parse(std::string_view text, const DecodeLimits& limits,
                               Scratch& scratch) {
  clear();
  text_ = text;
  if (text.size() > kTextBytesMax) {
    ProblemPtr problem = make_problem(ProblemKind::kPayloadTooLarge,
                                      "the JSON has " + std::to_string(text.size()) +
                                          " bytes, the limit is " + std::to_string(kTextBytesMax));
    problem->expected = "at most " + std::to_string(kTextBytesMax) + " bytes";
    problem->got = std::to_string(text.size()) + " bytes";
    return problem;
  }
  if (!text.empty() && JsonParser(*this, limits, scratch).parse()) return nullptr;
  clear();
  ProblemPtr problem = refuse_json(text, limits);
  // The two readers agree; a difference must still not become a document half read.
  if (!problem) problem = make_problem(ProblemKind::kInvalidInput, "the body is not JSON");
  return problem;
}

}  // namespace pelton
