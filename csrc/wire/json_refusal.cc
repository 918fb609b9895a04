#include "csrc/wire/json_refusal.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/wire/json_scan.h"
#include "csrc/wire/json_text.h"
#include "csrc/wire/number_text.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

constexpr size_t kShownNumberBytes = 40;
constexpr size_t kShownKeyCharacters = 60;

ProblemPtr refuse(std::string message, std::optional<size_t> offset = std::nullopt) {
  ProblemPtr problem = make_problem(ProblemKind::kInvalidInput, std::move(message));
  if (offset) problem->offset = static_cast<int64_t>(*offset);
  return problem;
}

ProblemPtr refuse_size(const char* what, int64_t count, int64_t count_max) {
  const std::string limit = std::to_string(count_max);
  ProblemPtr problem =
      make_problem(ProblemKind::kPayloadTooLarge, "the body holds " + std::to_string(count) + " " +
                                                      what + ", the limit is " + limit);
  problem->expected = "at most " + limit + " " + what;
  problem->got = std::to_string(count);
  return problem;
}

// What a flat look at the text outside of its strings counts. Strings are left out as if the text
// went on behind them, as the oracle cuts them out.
struct Bounds {
  int64_t containers = 0;
  int64_t commas = 0;
  int64_t infinities = 0;
  int64_t digits_in_line = 0;  // the most
  std::optional<size_t> too_deep;
};

// The end of the string that begins at `at`, of the text where it is not ended.
size_t skip_string(std::string_view text, size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\') ++at;
  }
  return text.size();
}

Bounds measure(std::string_view text, int depth_max) {
  Bounds bounds;
  int64_t depth = 0;
  int64_t digits = 0;
  int of_infinity = 0;  // characters of "Inf" just seen
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      at = skip_string(text, at) - 1;
      continue;
    }
    if (c == '[' || c == '{') {
      ++bounds.containers;
      if (++depth > depth_max && !bounds.too_deep) bounds.too_deep = at;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',') {
      ++bounds.commas;
    }
    digits = is_digit(c) ? digits + 1 : 0;
    bounds.digits_in_line = std::max(bounds.digits_in_line, digits);
    of_infinity = c == "Inf"[of_infinity] ? of_infinity + 1 : c == 'I' ? 1 : 0;
    if (of_infinity == 3) {
      ++bounds.infinities;
      of_infinity = 0;
    }
  }
  return bounds;
}

ProblemPtr check_bounds(const Bounds& bounds, const DecodeLimits& limits, int depth_max) {
  if (bounds.containers > limits.containers_max) {
    return refuse_size("arrays and objects", bounds.containers, limits.containers_max);
  }
  const int64_t nodes = bounds.containers + bounds.commas;
  if (nodes > limits.nodes_max) return refuse_size("values", nodes, limits.nodes_max);
  if (bounds.too_deep) {
    ProblemPtr problem =
        refuse("arrays and objects are nested deeper than " + std::to_string(depth_max) +
                   ", at byte " + std::to_string(*bounds.too_deep),
               bounds.too_deep);
    problem->expected = "at most " + std::to_string(depth_max) + " levels";
    return problem;
  }
  if (bounds.digits_in_line > limits.digits_max) {
    const std::string digits = std::to_string(limits.digits_max) + " digits";
    ProblemPtr problem = refuse("a number has more than " + digits);
    problem->expected = "at most " + digits;
    return problem;
  }
  return nullptr;
}

bool is_surrogate_escape(std::string_view text, size_t at, char low_digit, char high_digit) {
  if (text.size() - at < 4 || text[at] != '\\' || text[at + 1] != 'u') return false;
  const int third = hex_value(text[at + 3]);
  return hex_value(text[at + 2]) == 13 && third >= hex_value(low_digit) &&
         third <= hex_value(high_digit);
}

bool is_full_escape(std::string_view text, size_t at) {
  return text.size() - at >= 6 && hex_value(text[at + 4]) >= 0 && hex_value(text[at + 5]) >= 0;
}

// Where the escapes of the text stop pairing up; it looks outside of strings too.
std::optional<size_t> find_unpaired(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (text[at] != '\\') {
      ++at;
      continue;
    }
    if (at + 1 == text.size()) return at;
    if (!is_surrogate_escape(text, at, '8', 'f')) {
      at += 2;
      continue;
    }
    if (!is_surrogate_escape(text, at, '8', 'b') || !is_full_escape(text, at) ||
        !is_surrogate_escape(text, at + 6, 'c', 'f') || !is_full_escape(text, at + 6)) {
      return at;
    }
    at += 12;
  }
  return std::nullopt;
}

ProblemPtr check_surrogates(std::string_view text) {
  bool has_surrogate = false;
  for (size_t at = text.find('\\'); at != std::string_view::npos; at = text.find('\\', at + 1)) {
    has_surrogate |= is_surrogate_escape(text, at, '8', 'f');
  }
  if (!has_surrogate) return nullptr;
  const std::optional<size_t> offset = find_unpaired(text);
  if (!offset) return nullptr;
  return refuse("a string holds half of a surrogate pair, at byte " + std::to_string(*offset),
                offset);
}

// Python's json.loads (the scanner in C, Python 3.11), to the first thing it does not take. Its
// depth is bounded by the bounds checked before.
class SyntaxCheck {
 public:
  SyntaxCheck(std::string_view text, bool takes_inf)
      : text_(text), end_(text.data() + text.size()), takes_inf_(takes_inf) {}

  ProblemPtr check() {
    skip_space();
    if (read_value()) {
      skip_space();
      if (at_ < text_.size()) fail("Extra data", at_);
    }
    return std::move(problem_);
  }

 private:
  bool fail(const char* what, size_t at) {
    problem_ = refuse(
        "the body is not JSON: " + std::string(what) + ", at byte " + std::to_string(at), at);
    return false;
  }
  void skip_space() {
    while (at_ < text_.size() && is_json_space(text_[at_])) ++at_;
  }
  bool is_at(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }

  bool read_value() {
    if (at_ >= text_.size()) return fail("Expecting value", at_);
    switch (text_[at_]) {
      case '"':
        return read_string(nullptr);
      case '{':
        return read_object();
      case '[':
        return read_array();
      default:
        if (take("null") || take("true") || take("false")) return true;
        return read_number_value();
    }
  }

  bool read_number_value() {
    const NumberScan scan = scan_number(text_.data() + at_, end_, takes_inf_);
    if (scan.end == nullptr) return fail("Expecting value", at_);
    const std::string_view number(text_.data() + at_,
                                  static_cast<size_t>(scan.end - text_.data()) - at_);
    at_ += number.size();
    if (!takes_inf_ || scan.is_integer || is_literal(number)) return true;
    double value = 0;
    read_number(number.data(), scan.end, value);
    if (!std::isinf(value)) return true;
    const std::string shown(number.substr(0, kShownNumberBytes));
    problem_ = refuse("the number " + shown + " does not fit 64 bits");
    problem_->got = shown;
    return false;
  }
  static bool is_literal(std::string_view number) {
    return number.find_first_of("NI") != std::string_view::npos;
  }

  bool read_array() {
    ++at_;
    skip_space();
    if (is_at(']')) return ++at_, true;
    while (true) {
      if (!read_value()) return false;
      skip_space();
      if (is_at(']')) return ++at_, true;
      if (!is_at(',')) return fail("Expecting ',' delimiter", at_);
      ++at_;
      skip_space();
    }
  }

  bool read_object() {
    ++at_;
    skip_space();
    std::vector<std::string> keys;
    if (is_at('}')) return ++at_, true;
    while (true) {
      if (!is_at('"')) return fail("Expecting property name enclosed in double quotes", at_);
      if (!read_string(&keys.emplace_back())) return false;
      skip_space();
      if (!is_at(':')) return fail("Expecting ':' delimiter", at_);
      ++at_;
      skip_space();
      if (!read_value()) return false;
      skip_space();
      if (is_at('}')) return ++at_, check_keys(keys);
      if (!is_at(',')) return fail("Expecting ',' delimiter", at_);
      ++at_;
      skip_space();
    }
  }

  // Sorted, not hashed: a body could be full of keys of one hash.
  bool check_keys(const std::vector<std::string>& keys) {
    std::vector<size_t> order(keys.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&keys](size_t a, size_t b) {
      const int sign = keys[a].compare(keys[b]);
      return sign != 0 ? sign < 0 : a < b;
    });
    size_t repeated = keys.size();
    for (size_t i = 1; i < order.size(); ++i) {
      if (keys[order[i]] == keys[order[i - 1]]) repeated = std::min(repeated, order[i]);
    }
    if (repeated == keys.size()) return true;
    problem_ =
        refuse("the key " + python_repr(first_code_points(keys[repeated], kShownKeyCharacters)) +
               " comes twice in one object");
    return false;
  }

  // `decoded`: where the string goes, if it matters.
  bool read_string(std::string* decoded) {
    const size_t begin = at_++;
    while (true) {
      if (at_ >= text_.size()) return fail("Unterminated string starting at", begin);
      const char c = text_[at_];
      if (c == '"') return ++at_, true;
      if (static_cast<uint8_t>(c) < 0x20) return fail("Invalid control character at", at_);
      if (c == '\\') {
        if (!read_escape(begin, decoded)) return false;
        continue;
      }
      if (decoded != nullptr) *decoded += c;
      ++at_;
    }
  }

  bool read_escape(size_t begin, std::string* decoded) {
    if (at_ + 1 == text_.size()) return fail("Unterminated string starting at", begin);
    if (text_[at_ + 1] == 'u') {
      const char* const digits = text_.data() + at_ + 2;
      // Python wants a character behind the digits.
      if (end_ - digits <= 4 || read_four_hex(digits, end_) < 0) {
        return fail("Invalid \\uXXXX escape", at_ + 1);
      }
    }
    const EscapeScan escape = scan_escape(text_.data() + at_, end_);
    if (escape.bytes == 0) return fail("Invalid \\escape", at_);
    if (escape.bytes == 12 && text_.size() - at_ == 12) {
      return fail("Invalid \\uXXXX escape", at_ + 7);
    }
    if (decoded != nullptr) {
      char piece[4];
      decoded->append(piece, write_code_point(escape.code_point, piece));
    }
    at_ += static_cast<size_t>(escape.bytes);
    return true;
  }

  const std::string_view text_;
  const char* const end_;
  const bool takes_inf_;
  size_t at_ = 0;
  ProblemPtr problem_;
};

}  // namespace

ProblemPtr refuse_json(std::string_view text, const DecodeLimits& limits) {
  if (text.empty()) {
    ProblemPtr problem = refuse("the body is empty, expected JSON");
    problem->expected = "JSON";
    problem->got = "0 bytes";
    return problem;
  }
  if (text.starts_with(kUtf8Bom)) {
    return refuse("the body starts with a byte order mark, at byte 0", 0);
  }
  const int64_t quotes = std::count(text.begin(), text.end(), '"');
  if (quotes > 2 * limits.nodes_max) {
    return refuse_size("quotation marks", quotes, 2 * limits.nodes_max);
  }
  const int depth_max = limits.rank_max + kJsonOuterLevels;
  const Bounds bounds = measure(text, depth_max);
  PELTON_RETURN_IF_PROBLEM(check_bounds(bounds, limits, depth_max));
  size_t bad_offset = 0;
  if (!is_utf8(text, &bad_offset)) {
    return refuse("the body is not UTF-8, at byte " + std::to_string(bad_offset), bad_offset);
  }
  PELTON_RETURN_IF_PROBLEM(check_surrogates(text));
  const bool has_infinity =
      bounds.infinities > 0 && bounds.infinities <= bounds.containers + bounds.commas + 1;
  return SyntaxCheck(text, has_infinity).check();
}

}  // namespace pelton
