// Media types and the Accept field, read as pyserver/pelton/codec/negotiate.py reads them: values
// are taken as latin-1, so that none fails. Nothing here allocates but for a weight written with
// underscores.
#pragma once

#include <optional>
#include <string_view>

namespace pelton {

inline constexpr std::string_view kJsonType = "application/json";
inline constexpr std::string_view kOctetType = "application/octet-stream";
inline constexpr std::string_view kProblemType = "application/problem+json";
inline constexpr std::string_view kMsgpackType = "application/msgpack";
inline constexpr std::string_view kVendorMsgpackType = "application/vnd.msgpack";

// Equal but for the case of ASCII letters.
bool equals_ignoring_case(std::string_view a, std::string_view b);
// Without the white space (of latin-1) at both ends.
std::string_view strip_latin1(std::string_view text);

// The type of a Content-Type or of an item of Accept, its parameters cut off; in the case in which
// it came.
std::string_view media_type_of(std::string_view value);
// The parameter `name` (in lower case) of such a value, quotation marks cut off; the last one where
// there are several.
std::optional<std::string_view> media_parameter(std::string_view value, std::string_view name);

// Whether a body may be JSON by its Content-Type, nullopt where the request has none.
bool is_json_type(std::optional<std::string_view> content_type);

// An Accept field (RFC 9110, section 12.5.1). A view.
class Accept {
 public:
  explicit Accept(std::optional<std::string_view> value);

  // The weight of the most specific range that covers `media_type`; 0 where none does. REQUIRES: it
  // begins with "application/".
  double weight(std::string_view media_type) const;
  // Whether the client wrote this very type, and not with weight 0.
  bool names(std::string_view media_type) const;

 private:
  // The largest weight of the ranges that are `range`; negative where there is none.
  double weight_of_range(std::string_view range) const;

  std::string_view value_;  // empty: everything
};

}  // namespace pelton
