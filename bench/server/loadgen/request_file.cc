#include "bench/server/loadgen/request_file.h"

#include <strings.h>

#include <charconv>
#include <fstream>
#include <sstream>

namespace pelton::bench {
namespace {

// The length of the body that the head announces; 0 without Content-Length.
size_t body_length(std::string_view head) {
  constexpr std::string_view kName = "\r\ncontent-length:";
  for (size_t at = head.find("\r\n"); at != std::string_view::npos;
       at = head.find("\r\n", at + 2)) {
    if (head.size() - at < kName.size()) break;
    if (strncasecmp(head.data() + at, kName.data(), kName.size()) != 0) continue;
    const std::string_view value = head.substr(at + kName.size());
    const size_t digits = value.find_first_not_of(' ');
    if (digits == std::string_view::npos) return 0;
    size_t length = 0;
    std::from_chars(value.data() + digits, value.data() + value.size(), length);
    return length;
  }
  return 0;
}

}  // namespace

Result<std::vector<std::string>> read_requests(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return invalid_argument("--requests: cannot read " + path);
  return split_requests(text.str(), path);
}

Result<std::vector<std::string>> split_requests(std::string_view bytes, const std::string& path) {
  std::vector<std::string> requests;
  while (!bytes.empty()) {
    const size_t end = bytes.find("\r\n\r\n");
    const size_t length = end == std::string_view::npos ? 0 : body_length(bytes.substr(0, end));
    if (end == std::string_view::npos || bytes.size() - end - 4 < length) {
      return invalid_argument("--requests: " + path + " ends within its request number " +
                              std::to_string(requests.size() + 1));
    }
    requests.emplace_back(bytes.substr(0, end + 4 + length));
    bytes.remove_prefix(end + 4 + length);
  }
  if (requests.empty()) return invalid_argument("--requests: " + path + " holds no request");
  return requests;
}

}  // namespace pelton::bench
