// UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string_view>

namespace pelton {

// Bytes of the longest prefix of `text` that is whole, valid UTF-8; text.size() when all of it is.
size_t utf8_prefix_bytes(std::string_view text);

}  // namespace pelton
