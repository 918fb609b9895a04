#include "csrc/front/connection.h"

#include <algorithm>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/front/front.h"
#include "csrc/front/problems.h"

namespace pelton {
namespace {

constexpr size_t kInputBytesMax = size_t{256} << 10;  // held while nothing may be parsed
constexpr size_t kKeptInputBytes = size_t{4} << 10;
// Of the bodies and answers of one connection's requests; a single one may have more.
constexpr int64_t kHeldBytesMax = int64_t{4} << 20;
constexpr int64_t kUnreadBytesMax = int64_t{64} << 10;  // read and dropped rather than reset
constexpr Nanos kLingerMax = 1'000'000'000;
constexpr Nanos kProbeAfter = 50'000'000;
// Answers up to this size are gathered into one write.
constexpr size_t kGatheredBytesMax = size_t{64} << 10;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

bool has_body(const HttpHead& head) {
  return head.framing == HttpFraming::kChunked ||
         (head.framing == HttpFraming::kLength && head.content_length > 0);
}

bool is_identity(std::optional<std::string_view> coding) {
  return !coding || coding->empty() || *coding == "identity";
}

ProblemPtr body_too_large(int64_t limit, int64_t length) {
  const std::string expected = "at most " + std::to_string(limit) + " bytes";
  auto problem = make_problem(ProblemKind::kPayloadTooLarge,
                              "expected a body of at most " + std::to_string(limit) +
                                  " bytes, got " + std::to_string(length) + " bytes");
  problem->expected = expected;
  problem->got = std::to_string(length) + " bytes";
  return problem;
}

}  // namespace

Connection::Connection(Front& front, Transport& transport) : front_(front), transport_(transport) {}

Connection::~Connection() { PELTON_CHECK(!is_open_); }

void Connection::opened() {
  is_open_ = true;
  since_ = front_.begin_event();
  if (front_.add_connection(*this)) return;
  auto problem =
      make_problem(ProblemKind::kUnavailable, "the server has no room for another connection");
  refuse(std::move(problem));
  flush();
}

void Connection::lost() {
  if (!is_open_) return;
  is_open_ = false;
  phase_ = Phase::kClosed;
  front_.remove_connection(*this);
  while (first_ != nullptr) {
    Job& job = *first_;
    if (job.state != JobState::kReady && job.state != JobState::kForwarding) {
      front_.log_client_gone(job);
    }
    pop_job();
    front_.abandon(job);
  }
  end_forwarded();
  input_.clear();
  input_.shrink_to_fit();
}

// -- events --

void Connection::received(std::string_view bytes) {
  front_.begin_event();
  if (phase_ == Phase::kLingering || phase_ == Phase::kClosing || phase_ == Phase::kClosed) {
    return drop_input(bytes.size());
  }
  if (input_.empty()) {
    const size_t used = parse(bytes);
    if (phase_ != Phase::kLingering && phase_ != Phase::kClosing) input_.append(bytes.substr(used));
  } else {
    input_.append(bytes);
    parse_input();
  }
  front_.after_event(*this);
}

bool Connection::received_eof() {
  is_eof_ = true;
  eof_since_ = front_.now();
  const bool is_due =
      first_ != nullptr || phase_ == Phase::kForwardWait || phase_ == Phase::kForwardBody;
  // A message that is not complete will never be. Answers before it are still due.
  if (phase_ == Phase::kBody && first_ != last_) {
    refuse(make_problem(ProblemKind::kInvalidInput,
                        "the body ended after " + std::to_string(body_bytes_) + " bytes"));
  } else if (phase_ == Phase::kBody || phase_ == Phase::kForwardBody) {
    abort();
    return false;
  }
  return is_due && phase_ != Phase::kLingering;
}

void Connection::pause_writing() {
  is_writing_paused_ = true;
  write_paused_since_ = front_.now();
  unsent_bytes_ = transport_.unsent_bytes();
}

void Connection::resume_writing() {
  front_.begin_event();
  is_writing_paused_ = false;
  if (is_open_) front_.after_event(*this);
}

void Connection::forwarded_answered(bool is_closing) {
  if (!is_open_) return;
  front_.begin_event();
  if (is_job_forwarded_) {
    is_job_forwarded_ = false;
    Job& job = *first_;
    pop_job();
    is_closing = is_closing || job.closes;
    front_.release(job);
  } else if (phase_ == Phase::kForwardWait) {
    end_forwarded();
  }
  if (is_closing) {
    phase_ = Phase::kClosing;
    input_.clear();
    return transport_.close();
  }
  if (phase_ == Phase::kForwardBody) {
    is_forward_answered_ = true;
  } else if (phase_ == Phase::kForwardWait) {
    phase_ = Phase::kHead;
    since_ = front_.now();
  }
  front_.after_event(*this);
}

void Connection::end_forwarded() {
  if (forwarded_bytes_ == 0) return;
  front_.count_body_bytes(-std::exchange(forwarded_bytes_, 0));
}

void Connection::set_forward_paused(bool is_paused) {
  // While it wants none the client is not slow.
  if (is_forward_paused_ && !is_paused && phase_ == Phase::kForwardBody) {
    since_ = front_.now();
    body_bytes_ = 0;
  }
  is_forward_paused_ = is_paused;
  regulate_reading();
}

bool Connection::is_idle() const {
  return first_ == nullptr && phase_ == Phase::kHead && input_.empty();
}

void Connection::drain() {
  if (is_open_ && is_idle()) {
    phase_ = Phase::kClosing;
    transport_.close();
  }
}

void Connection::advance() {
  if (is_parsing_) return;  // whoever parses comes here when it is done
  for (;;) {
    flush();
    if (input_.empty() || !may_parse()) break;
    const size_t before = input_.size();
    parse_input();
    if (input_.size() == before && (first_ == nullptr || first_->state != JobState::kReady)) break;
  }
  if (is_eof_ && first_ == nullptr && phase_ == Phase::kHead && is_open_) {
    phase_ = Phase::kClosing;
    transport_.close();
  }
  regulate_reading();
}

void Connection::check_time(Nanos now) {
  const FrontOptions& options = front_.options();
  if (is_writing_paused_ && !takes_its_answer(now)) return abort();
  if (is_eof_ && now - eof_since_ > kProbeAfter) {
    if (transport_.is_reset()) return abort();
    probe();
  }
  switch (phase_) {
    case Phase::kHead:
      if (first_ != nullptr) break;
      if (!input_.empty() || message_count_ == 0) {
        if (now - since_ <= options.head_max) break;
        if (input_.empty()) return abort();  // nothing was sent: no request, so no answer
        refuse(make_problem(ProblemKind::kRequestTimeout,
                            "the head of the request did not come in time"));
        return advance();
      }
      if (now - since_ > options.keep_alive) drain();
      break;
    case Phase::kBody:
    case Phase::kForwardBody:
      return check_body_pace(now);
    case Phase::kLingering:
      if (now - since_ > kLingerMax) {
        phase_ = Phase::kClosing;
        transport_.close();
      }
      break;
    default:
      break;
  }
}

// False: it has taken less than the pace that is asked of bodies for too long.
bool Connection::takes_its_answer(Nanos now) {
  const FrontOptions& options = front_.options();
  if (now - write_paused_since_ <= options.write_stall_max) return true;
  const size_t unsent = transport_.unsent_bytes();
  const int64_t taken = static_cast<int64_t>(unsent_bytes_) - static_cast<int64_t>(unsent);
  write_paused_since_ = now;
  unsent_bytes_ = unsent;
  const int64_t asked = options.write_stall_max / 1'000'000 * options.body_bytes_per_s_min / 1000;
  return taken >= std::max<int64_t>(asked, 1);
}

void Connection::check_body_pace(Nanos now) {
  const FrontOptions& options = front_.options();
  if (phase_ == Phase::kForwardBody && is_forward_paused_) return;
  const Nanos allowed =
      options.body_grace + body_bytes_ * 1'000'000'000 / options.body_bytes_per_s_min;
  if (now - since_ <= allowed) return;
  const std::string seconds = std::to_string(allowed / 1'000'000'000);
  auto problem = make_problem(ProblemKind::kRequestTimeout,
                              "the body did not come in time: " + std::to_string(body_bytes_) +
                                  " bytes after " + seconds + " s");
  problem->expected =
      "at least " + std::to_string(options.body_bytes_per_s_min) + " bytes a second";
  problem->got = std::to_string(body_bytes_) + " bytes in " + seconds + " s";
  if (phase_ == Phase::kForwardBody) {
    refuse_forwarded(std::move(problem));
  } else {
    refuse(std::move(problem));
  }
  advance();
}

// Half-closed, or gone? Only something sent to it tells: from one that is gone a reset comes back.
// An interim answer says nothing to a client that waits (RFC 9110, section 15.2).
void Connection::probe() {
  if (is_probed_ || is_writing_paused_) return;
  if (is_job_forwarded_ || phase_ == Phase::kForwardWait) {
    is_probed_ = true;
    transport_.probe_forwarded();
  } else if (first_ != nullptr) {
    is_probed_ = true;
    transport_.write(kContinue);
  }
}

// -- reading --

bool Connection::may_parse() const {
  switch (phase_) {
    case Phase::kHead:
      if (is_message_waiting_ && first_ != nullptr) return false;
      return !is_writing_paused_ && queued_ < front_.pipelined_max() &&
             (first_ == nullptr || held_bytes_ < kHeldBytesMax);
    case Phase::kBody:
      return true;
    case Phase::kForwardBody:
      return true;
    default:
      return false;
  }
}

size_t Connection::parse(std::string_view bytes) {
  is_parsing_ = true;
  size_t at = 0;
  while (at < bytes.size() && may_parse()) {
    const std::string_view rest = bytes.substr(at);
    size_t used = 0;
    if (phase_ == Phase::kHead) {
      used = parse_head(rest);
    } else if (phase_ == Phase::kBody) {
      used = read_job_body(rest);
    } else {
      used = read_forward_body(rest);
    }
    if (used == 0) break;
    at += used;
  }
  is_parsing_ = false;
  return at;
}

void Connection::parse_input() {
  const size_t used = parse(input_);
  if (phase_ == Phase::kClosing || phase_ == Phase::kLingering) {
    input_.clear();
  } else {
    input_.erase(0, used);
  }
  if (input_.empty() && input_.capacity() > kKeptInputBytes) input_.shrink_to_fit();
}

size_t Connection::parse_head(std::string_view bytes) {
  HttpHead head;
  ProblemPtr problem;
  if (input_.empty() && scanned_ == 0) since_ = front_.event_time();
  switch (parse_http_head(bytes, front_.options().http, scanned_, head, problem)) {
    case HeadVerdict::kNeedMore:
      return 0;
    case HeadVerdict::kViolation:
      front_.refused_messages_.fetch_add(1, std::memory_order_relaxed);
      refuse(std::move(problem));
      return 0;
    case HeadVerdict::kComplete:
      break;
  }
  scanned_ = 0;
  is_message_waiting_ = !take(head, bytes.substr(0, head.head_bytes));
  return is_message_waiting_ ? 0 : head.head_bytes;
}

// False: the message has to wait for the ones before it.
bool Connection::take(const HttpHead& head, std::string_view raw) {
  std::string decoded;
  Route route;
  ProblemPtr problem = match_route(head, decoded, route);
  const FrontOptions& options = front_.options();
  const bool is_too_large =
      head.framing == HttpFraming::kLength && head.content_length > options.decode.body_bytes_max;
  if (is_too_large) {
    problem = body_too_large(options.decode.body_bytes_max, head.content_length);
  }
  const bool is_plain =
      head.minor_version == 1 && !head.has_repeated_field && is_identity(head.content_encoding);
  const bool is_native = route.kind == RouteKind::kEmbeddings ||
                         (route.kind == RouteKind::kInfer && !front_.is_python_model(route.model));
  const bool is_taken = problem != nullptr || (is_plain && is_native);
  if (!is_taken) {
    if (first_ != nullptr) return false;
    begin_forward(head, raw);
  } else {
    take_job(head, raw, route, std::move(problem));
  }
  ++message_count_;
  return true;
}

void Connection::begin_forward(const HttpHead& head, std::string_view raw) {
  front_.forwarded_.fetch_add(1, std::memory_order_relaxed);
  body_.begin(head, front_.options().decode.body_bytes_max);
  body_bytes_ = 0;
  is_forward_answered_ = false;
  phase_ = has_body(head) ? Phase::kForwardBody : Phase::kForwardWait;
  since_ = front_.event_time();
  if (head.has_upgrade) return transport_.forward(without_field(raw, "upgrade:"));
  transport_.forward(raw);
}

void Connection::take_job(const HttpHead& head, std::string_view raw, const Route& route,
                          ProblemPtr problem) {
  Job& job = front_.new_job(*this);
  job.take_head(head, raw, route);
  job.closes =
      !head.keep_alive ||
      message_count_ + 1 >= static_cast<uint64_t>(front_.options().messages_per_connection_max);
  enqueue(job);
  if (problem == nullptr) problem = front_.check_head(job);
  const bool is_long =
      head.framing == HttpFraming::kChunked || head.content_length > kUnreadBytesMax;
  if (problem != nullptr && has_body(head) && (head.expects_continue || is_long)) {
    // Answered instead of read.
    job.closes = true;
    phase_ = Phase::kClosing;
    return front_.refuse(job, std::move(problem));
  }
  job.problem = std::move(problem);
  if (!has_body(head)) {
    since_ = job.arrival;
    if (job.closes) phase_ = Phase::kClosing;
    return front_.start(job);
  }
  body_.begin(head, front_.options().decode.body_bytes_max);
  body_bytes_ = 0;
  since_ = job.arrival;
  phase_ = Phase::kBody;
  // Behind other answers it would be taken for one of them: then the client has to wait.
  if (head.expects_continue && first_ == &job) {
    job.is_continued = true;
    transport_.write(kContinue);
  }
}

size_t Connection::read_job_body(std::string_view bytes) {
  Job& job = last_job();
  HttpBodyReader::Step step = body_.read(bytes);
  body_bytes_ += static_cast<int64_t>(step.consumed);
  if (step.problem != nullptr) {
    refuse(std::move(step.problem));
    return 0;
  }
  // Of a request that is refused only the length is read.
  if (job.problem == nullptr) {
    if (!front_.has_room_for(std::ssize(step.content))) {
      refuse(no_room_for_body());
      return 0;
    }
    job.body.append(step.content, static_cast<size_t>(job.head.content_length));
    front_.hold(job, static_cast<int64_t>(job.body.size()));
  }
  if (step.is_done) {
    phase_ = job.closes ? Phase::kClosing : Phase::kHead;
    if (body_bytes_ > static_cast<int64_t>(step.consumed)) job.complete = front_.now();
    front_.start(job);
  }
  return step.consumed;
}

size_t Connection::read_forward_body(std::string_view bytes) {
  // All pieces that are here in one call of the other protocol.
  size_t used = 0;
  bool is_done = false;
  while (used < bytes.size() && !is_done) {
    HttpBodyReader::Step step = body_.read(bytes.substr(used));
    if (step.problem != nullptr) {
      refuse_forwarded(std::move(step.problem));
      return 0;
    }
    if (step.consumed == 0) break;
    used += step.consumed;
    is_done = step.is_done;
  }
  if (used == 0) return 0;
  body_bytes_ += static_cast<int64_t>(used);
  if (!is_forward_answered_) {
    if (!front_.has_room_for(static_cast<int64_t>(used))) {
      refuse_forwarded(no_room_for_body());
      return 0;
    }
    forwarded_bytes_ += static_cast<int64_t>(used);
    front_.count_body_bytes(static_cast<int64_t>(used));
  }
  if (is_done) {
    if (is_forward_answered_) end_forwarded();
    phase_ = is_forward_answered_ ? Phase::kHead : Phase::kForwardWait;
    since_ = front_.event_time();
  }
  transport_.forward(bytes.substr(0, used));
  return used;
}

// Answers after the answers that are due, then closes; nothing more is read.
void Connection::refuse(ProblemPtr problem) {
  Job* job = nullptr;
  if (phase_ == Phase::kBody) {
    job = &last_job();
  } else {
    job = &front_.new_job(*this);
    enqueue(*job);
  }
  job->closes = true;
  phase_ = Phase::kClosing;
  front_.refuse(*job, std::move(problem));
}

// It has part of the message already. If it has not begun to answer, it is told to forget it.
void Connection::refuse_forwarded(ProblemPtr problem) {
  if (is_forward_answered_) {
    phase_ = Phase::kClosing;
    return transport_.close();
  }
  if (!transport_.take_back()) return abort();
  refuse(std::move(problem));
}

void Connection::drop_input(size_t count) {
  dropped_bytes_ += static_cast<int64_t>(count);
  if (phase_ == Phase::kLingering && dropped_bytes_ > kUnreadBytesMax) {
    phase_ = Phase::kClosing;
    transport_.close();
  } else if (dropped_bytes_ > kUnreadBytesMax + static_cast<int64_t>(kInputBytesMax)) {
    regulate_reading();
  }
}

void Connection::regulate_reading() {
  if (!is_open_ || is_eof_) return;
  bool is_full = input_.size() > kInputBytesMax && !may_parse();
  if (phase_ == Phase::kClosing) is_full = dropped_bytes_ > kUnreadBytesMax;
  const bool is_paused = is_full || is_forward_paused_;
  if (is_paused == is_reading_paused_) return;
  is_reading_paused_ = is_paused;
  if (is_paused) {
    transport_.pause_reading();
  } else {
    transport_.resume_reading();
  }
}

// -- answering --

void Connection::enqueue(Job& job) {
  job.is_in_queue = true;
  (last_ != nullptr ? last_->next : first_) = &job;
  last_ = &job;
  ++queued_;
}

void Connection::pop_job() {
  Job& job = *first_;
  first_ = job.next;
  if (first_ == nullptr) last_ = nullptr;
  job.next = nullptr;
  job.is_in_queue = false;
  --queued_;
}

void Connection::flush() {
  std::string& out = front_.outgoing();
  out.clear();
  bool is_over = false;
  while (first_ != nullptr && !is_writing_paused_ && !is_over && !is_job_forwarded_) {
    Job& job = *first_;
    if (job.state == JobState::kForwarding) {
      if (!out.empty()) transport_.write(out);
      out.clear();
      if (!is_writing_paused_) is_job_forwarded_ = forward_job(job);
      break;
    }
    if (job.state != JobState::kReady) break;
    const bool drains =
        front_.is_draining_ && queued_ == 1 && input_.empty() && phase_ == Phase::kHead;
    is_over = job.closes || drains;
    front_.append_reply_head(job, is_over, out);
    if (job.reply_body.size() <= kGatheredBytesMax) {
      out += job.reply_body;
    } else {
      transport_.write(out);
      out.clear();
      transport_.write(job.reply_body);
    }
    if (out.size() > kGatheredBytesMax) {
      transport_.write(out);
      out.clear();
    }
    pop_job();
    front_.release(job);
    since_ = front_.event_time();
  }
  if (!out.empty()) transport_.write(out);
  if (is_over) end();
}

// True: the message is with the other protocol.
bool Connection::forward_job(Job& job) {
  front_.forwarded_.fetch_add(1, std::memory_order_relaxed);
  transport_.forward(job.message_for_forwarding());
  return true;
}

// The last answer is written.
void Connection::end() {
  while (first_ != nullptr) {
    Job& job = *first_;
    pop_job();
    front_.abandon(job);
  }
  input_.clear();
  if (is_eof_) {
    phase_ = Phase::kClosing;
    return transport_.close();
  }
  linger();
}

// The peer is told that no more comes, and may still be sending: what it sends is dropped, since
// closing a socket with unread bytes resets it, and the answer could be lost (RFC 9112, section
// 9.6).
void Connection::linger() {
  phase_ = Phase::kLingering;
  since_ = front_.now();
  transport_.finish_writing();
  if (is_reading_paused_) {
    is_reading_paused_ = false;
    transport_.resume_reading();
  }
}

void Connection::abort() {
  phase_ = Phase::kClosing;
  transport_.abort();
}

}  // namespace pelton
