#include "bench/server/loadgen/reply_reader.h"

#include <strings.h>
#include <algorithm>
#include <charconv>

namespace pelton::bench {
namespace {

constexpr size_t kHeadBytesMax = 64 * 1024;
constexpr std::string_view kHeadEnd = "\r\n\r\n";

bool same_name(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
}

template <typename Number>
bool read_whole(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

void ReplyReader::reset() {
  head_.clear();
  in_body_ = false;
  closes_ = false;
  status_ = 0;
  body_left_ = 0;
}

ReplyReader::Progress ReplyReader::feed(std::string_view bytes) {
  Progress progress;
  while (!in_body_) {
    const Progress head = feed_head(bytes.substr(progress.consumed));
    progress.consumed += head.consumed;
    progress.state = head.state;
    if (head.state == State::kMalformed || !in_body_) return progress;
    if (status_ / 100 == 1) reset();
  }
  const auto taken = static_cast<size_t>(
      std::min<int64_t>(body_left_, static_cast<int64_t>(bytes.size() - progress.consumed)));
  progress.consumed += taken;
  body_left_ -= static_cast<int64_t>(taken);
  progress.state = body_left_ == 0 ? State::kComplete : State::kIncomplete;
  return progress;
}

ReplyReader::Progress ReplyReader::feed_head(std::string_view bytes) {
  if (head_.empty()) {  // mostly the whole head is there at once, and nothing is copied
    const size_t end = bytes.find(kHeadEnd);
    if (end != std::string_view::npos) {
      const std::string_view head = bytes.substr(0, end);
      if (!parse_head(head)) {
        head_ = head;
        return {State::kMalformed, bytes.size()};
      }
      return {State::kIncomplete, end + kHeadEnd.size()};
    }
  }
  const size_t before = head_.size();
  head_.append(bytes);
  const size_t from = before < kHeadEnd.size() ? 0 : before - kHeadEnd.size();
  const size_t end = head_.find(kHeadEnd, from);
  if (end == std::string::npos) {
    const bool too_long = head_.size() > kHeadBytesMax;
    return {too_long ? State::kMalformed : State::kIncomplete, bytes.size()};
  }
  if (!parse_head(std::string_view(head_).substr(0, end))) {
    return {State::kMalformed, bytes.size()};
  }
  return {State::kIncomplete, end + kHeadEnd.size() - before};
}

bool ReplyReader::parse_head(std::string_view head) {
  constexpr std::string_view kVersion = "HTTP/1.1 ";
  size_t end = std::min(head.find("\r\n"), head.size());
  if (end < kVersion.size() + 3 || !head.starts_with(kVersion)) return false;
  if (!read_whole(head.substr(kVersion.size(), 3), status_)) return false;
  const bool has_no_body = status_ / 100 == 1 || status_ == 204 || status_ == 304;
  body_left_ = has_no_body ? 0 : -1;
  while (end < head.size()) {
    const size_t begin = end + 2;
    end = std::min(head.find("\r\n", begin), head.size());
    if (!parse_field(head.substr(begin, end - begin))) return false;
  }
  in_body_ = true;
  return body_left_ >= 0;
}

bool ReplyReader::parse_field(std::string_view line) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view name = line.substr(0, colon);
  if (same_name(name, "content-length")) {
    return read_whole(trimmed(line.substr(colon + 1)), body_left_) && body_left_ >= 0;
  }
  if (same_name(name, "connection")) {
    closes_ = closes_ || same_name(trimmed(line.substr(colon + 1)), "close");
  }
  return true;
}

}  // namespace pelton::bench
