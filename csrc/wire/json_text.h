// Strings as JSON text.
#pragma once

#include <string>
#include <string_view>

namespace pelton {

// Appends `text` in quotes, escaped as RFC 8259 demands and no further; UTF-8 stays as it is.
// REQUIRES: `text` is UTF-8.
void append_json_string(std::string_view text, std::string& out);
// The same in ASCII: what is not ASCII as \uXXXX, bytes that are not UTF-8 as lone surrogates
// (what Python's json.dumps makes of a string decoded with surrogateescape).
void append_json_string_ascii(std::string_view text, std::string& out);

// Whether the bytes are UTF-8 (RFC 3629: shortest forms, no surrogates); otherwise where they stop
// being it.
bool is_utf8(std::string_view text, size_t* bad_offset = nullptr);

}  // namespace pelton
