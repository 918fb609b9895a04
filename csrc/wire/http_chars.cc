#include "csrc/wire/http_chars.h"

namespace pelton::http {

std::string shown(std::string_view bytes) {
  constexpr size_t kShownMax = 64;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes.substr(0, kShownMax)) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  if (bytes.size() > kShownMax) text += "...";
  return text;
}

}  // namespace pelton::http
