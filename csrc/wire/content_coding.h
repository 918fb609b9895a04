// Accept-Encoding of a request (RFC 9110, section 12.5.3).
#pragma once

#include <string_view>

namespace pelton {

// The coding for an answer: gzip or deflate, whichever is wanted more, gzip where both are; zstd
// only where neither is named, since clients that list it beside them often cannot read it. Empty
// where the client prefers "identity" or names none of them. Static. The oracle is
// accepted_coding() of pyserver/pelton/http/_coding.py.
std::string_view accepted_coding(std::string_view accept_encoding);

}  // namespace pelton
