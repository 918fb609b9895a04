#include "csrc/wire/content_coding.h"

#include <charconv>
#include <optional>

#include "csrc/wire/media_types.h"

namespace pelton {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// The value of `q=`; 1 where there is none, 0 where it is none.
double weight_of(std::string_view parameters) {
  parameters = trim(parameters);
  if (parameters.empty()) return 1;
  const size_t equals = parameters.find('=');
  if (!equals_ignoring_case(trim(parameters.substr(0, equals)), "q")) return 1;
  if (equals == parameters.npos) return 0;
  const std::string_view text = trim(parameters.substr(equals + 1));
  double weight = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
  if (error != std::errc() || end != text.data() + text.size()) return 0;
  return weight >= 0 && weight <= 1 ? weight : 0;
}

}  // namespace

std::string_view accepted_coding(std::string_view accept_encoding) {
  std::optional<double> gzip;
  double others = 0;
  double deflate = 0;
  double zstd = 0;
  double identity = 0;
  while (!accept_encoding.empty()) {
    const size_t comma = accept_encoding.find(',');
    const std::string_view item = accept_encoding.substr(0, comma);
    accept_encoding.remove_prefix(comma == item.npos ? accept_encoding.size() : comma + 1);
    const size_t semicolon = item.find(';');
    const std::string_view name = trim(item.substr(0, semicolon));
    const double weight = semicolon == item.npos ? 1 : weight_of(item.substr(semicolon + 1));
    if (equals_ignoring_case(name, "gzip") || equals_ignoring_case(name, "x-gzip")) gzip = weight;
    if (name == "*") others = weight;
    if (equals_ignoring_case(name, "deflate")) deflate = weight;
    if (equals_ignoring_case(name, "zstd")) zstd = weight;
    if (equals_ignoring_case(name, "identity")) identity = weight;
  }
  const double gzip_weight = gzip.value_or(others);
  double weight = gzip_weight >= deflate ? gzip_weight : deflate;
  std::string_view best = gzip_weight >= deflate ? "gzip" : "deflate";
  if (weight == 0 && zstd > 0) {
    best = "zstd";
    weight = zstd;
  }
  return weight > 0 && weight >= identity ? best : std::string_view();
}

}  // namespace pelton
