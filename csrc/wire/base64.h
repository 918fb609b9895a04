// Base64 (RFC 4648, section 4): the standard alphabet, with padding.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace pelton {

// Characters that `bytes` bytes become.
constexpr size_t base64_size(size_t bytes) { return (bytes + 2) / 3 * 4; }

// Appends base64_size(bytes.size()) characters.
void append_base64(std::span<const std::byte> bytes, std::string& out);

}  // namespace pelton
