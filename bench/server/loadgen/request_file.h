// A file of raw HTTP/1.1 requests, one after the other; each ends where its Content-Length says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/status.h"

namespace pelton::bench {

// An error for a file that cannot be read, holds no request, or ends within one.
Result<std::vector<std::string>> read_requests(const std::string& path);

// The same of bytes; `path` is for messages.
Result<std::vector<std::string>> split_requests(std::string_view bytes, const std::string& path);

}  // namespace pelton::bench
