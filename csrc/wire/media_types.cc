#include "csrc/wire/media_types.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>

namespace pelton {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool is_space(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte >= 0x09 && byte <= 0x0D) || (byte >= 0x1C && byte <= 0x20) || byte == 0x85 ||
         byte == 0xA0;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// What stands before the first `separator`, which goes from the front of `rest` together with it.
std::string_view cut(std::string_view& rest, char separator) {
  const size_t end = rest.find(separator);
  const std::string_view front = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return front;
}

// The number as Python's float() reads it; nullopt where it is none. Only whether it lies in
// [0, 1], and its value there, matter.
std::optional<double> parse_float(std::string_view text) {
  std::string without_underscores;
  if (text.find('_') != std::string_view::npos) {
    for (size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '_') {
        without_underscores += text[i];
      } else if (i == 0 || i + 1 == text.size() || !is_digit(text[i - 1]) ||
                 !is_digit(text[i + 1])) {
        return std::nullopt;
      }
    }
    text = without_underscores;
  }
  if (text.starts_with('+')) {
    text.remove_prefix(1);
    if (text.starts_with('-')) return std::nullopt;
  }
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (stopped != end || error == std::errc::invalid_argument) return std::nullopt;
  // Out of range: too small is 0, and too large is no weight either.
  return error == std::errc() ? value : 0.0;
}

// A weight from 0 to 1; what is not one counts as 0, so that a broken field excludes.
double parse_weight(std::optional<std::string_view> text) {
  if (!text) return 1.0;
  const double weight = parse_float(strip_latin1(*text)).value_or(0.0);
  return weight >= 0.0 && weight <= 1.0 ? weight : 0.0;
}

}  // namespace

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(),
                                            [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view strip_latin1(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view media_type_of(std::string_view value) {
  return strip_latin1(value.substr(0, value.find(';')));
}

std::optional<std::string_view> media_parameter(std::string_view value, std::string_view name) {
  cut(value, ';');
  std::optional<std::string_view> found;
  while (!value.empty()) {
    std::string_view text = cut(value, ';');
    if (!equals_ignoring_case(strip_latin1(cut(text, '=')), name)) continue;
    text = strip_latin1(text);
    while (text.starts_with('"')) text.remove_prefix(1);
    while (text.ends_with('"')) text.remove_suffix(1);
    found = text;
  }
  return found;
}

bool is_json_type(std::optional<std::string_view> content_type) {
  if (!content_type) return true;
  const std::string_view type = media_type_of(*content_type);
  constexpr std::string_view kGroup = "application/";
  constexpr std::string_view kSuffix = "+json";
  const bool is_json = type.empty() || equals_ignoring_case(type, kJsonType) ||
                       equals_ignoring_case(type, kOctetType) ||
                       equals_ignoring_case(type, "text/json") ||
                       (type.size() >= kGroup.size() &&
                        equals_ignoring_case(type.substr(0, kGroup.size()), kGroup) &&
                        type.size() >= kSuffix.size() &&
                        equals_ignoring_case(type.substr(type.size() - kSuffix.size()), kSuffix));
  if (!is_json) return false;
  const std::string_view charset = media_parameter(*content_type, "charset").value_or("utf-8");
  return equals_ignoring_case(charset, "utf-8") || equals_ignoring_case(charset, "utf8") ||
         equals_ignoring_case(charset, "us-ascii");
}

Accept::Accept(std::optional<std::string_view> value)
    : value_(value && !strip_latin1(*value).empty() ? *value : std::string_view()) {}

double Accept::weight_of_range(std::string_view range) const {
  double largest = -1.0;
  for (std::string_view rest = value_; !rest.empty();) {
    const std::string_view item = cut(rest, ',');
    if (equals_ignoring_case(media_type_of(item), range)) {
      largest = std::max(largest, parse_weight(media_parameter(item, "q")));
    }
  }
  return largest;
}

double Accept::weight(std::string_view media_type) const {
  if (value_.empty()) return 1.0;
  for (const std::string_view range :
       {media_type, std::string_view("application/*"), std::string_view("*/*")}) {
    const double weight = weight_of_range(range);
    if (weight >= 0.0) return weight;
  }
  return 0.0;
}

bool Accept::names(std::string_view media_type) const {
  return !value_.empty() && weight_of_range(media_type) > 0.0;
}

}  // namespace pelton
