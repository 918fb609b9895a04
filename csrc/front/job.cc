#include "csrc/front/job.h"

#include <strings.h>

#include <charconv>
#include <cstdlib>
#include <optional>

#include "csrc/wire/http_answer.h"

namespace pelton {
namespace {

constexpr size_t kKeptReplyBytesMax = size_t{64} << 10;

void clear_text(std::string& text) {
  text.clear();
  if (text.capacity() > kKeptReplyBytesMax) text.shrink_to_fit();
}

}  // namespace

std::byte* OutputBuffer::reserve(size_t bytes) {
  constexpr size_t kAlignment = 64;
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (rounded > capacity_) {
    memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded)));
    PELTON_CHECK(memory_ != nullptr);
    capacity_ = rounded;
  }
  return memory_.get();
}

void OutputBuffer::clear() {
  if (capacity_ <= kKeptBytesMax) return;
  memory_.reset();
  capacity_ = 0;
}

namespace {

// `view` within `from`, moved to the same place within `to`.
std::string_view rebase(std::string_view view, std::string_view from, std::string_view to) {
  return to.substr(static_cast<size_t>(view.data() - from.data()), view.size());
}
void rebase(std::optional<std::string_view>& view, std::string_view from, std::string_view to) {
  if (view) view = rebase(*view, from, to);
}

}  // namespace

std::string without_field(std::string_view head, std::string_view name) {
  std::string kept;
  kept.reserve(head.size());
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find('\n') + 1);
    head.remove_prefix(line.size());
    const bool is_field =
        line.size() > name.size() && strncasecmp(line.data(), name.data(), name.size()) == 0;
    if (!is_field) kept += line;
  }
  return kept;
}

void Job::take_head(const HttpHead& parsed, std::string_view raw, const Route& its_route) {
  head_text.assign(raw);
  const std::string_view kept = head_text;
  head = parsed;
  head.method_text = rebase(head.method_text, raw, kept);
  head.target = rebase(head.target, raw, kept);
  head.path = rebase(head.path, raw, kept);
  for (auto* field :
       {&head.host, &head.content_type, &head.content_encoding, &head.accept, &head.accept_encoding,
        &head.inference_header_content_length, &head.request_id, &head.deadline_ms,
        &head.authorization, &head.origin, &head.traceparent}) {
    rebase(*field, raw, kept);
  }
  route = its_route.kind;
  decoded_names.assign(its_route.model);
  decoded_names += its_route.version;
  model_name = std::string_view(decoded_names).substr(0, its_route.model.size());
  version = std::string_view(decoded_names).substr(its_route.model.size());
}

std::string Job::message_for_forwarding() const {
  // Its client has been told to go on already.
  std::string message = without_field(head_text, "expect:");
  if (head.has_upgrade) message = without_field(message, "upgrade:");
  message.reserve(message.size() + body.size() + 32);
  if (head.framing != HttpFraming::kChunked) return message += body.text();
  char size[20];
  const auto end = std::to_chars(size, size + sizeof(size), body.size(), 16);
  if (body.size() > 0) {
    message.append(size, end.ptr);
    message += "\r\n";
    message += body.text();
    message += "\r\n";
  }
  return message += "0\r\n\r\n";
}

std::string_view Job::request_id() const {
  return head.request_id && is_request_id(*head.request_id) ? *head.request_id : std::string_view();
}

void Job::clear() {
  PELTON_CHECK(!is_in_queue && engaged == 0);
  state = JobState::kReading;
  connection = nullptr;
  next = nullptr;
  head = HttpHead();
  model_name = version = {};
  body.clear();
  held_bytes = 0;
  deadline = kNoDeadline;
  closes = is_continued = false;
  model.reset();
  infer.clear();
  embeddings.clear();
  bound.clear();
  is_for_python = false;
  gate = GateRequest();
  is_past_gates = false;
  piece_count = next_piece = oldest_piece = 0;
  if (pieces.size() > 4) pieces.resize(1);
  outputs.clear();
  output_begins.clear();
  problem.reset();
  status = 200;
  coding = {};
  clear_text(reply_head);
  clear_text(reply_body);
  encoded = EncodedHead();
}

void Job::drop_sources() {
  if (body.size() > ByteBuffer::kKeptBytesMax) body.clear();
  outputs.clear();
}

}  // namespace pelton
