#include "csrc/front/front.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <random>
#include <utility>

#include "csrc/base/check.h"
#include "csrc/front/piece_cutter.h"
#include "csrc/front/problems.h"
#include "csrc/wire/content_coding.h"
#include "csrc/wire/error_body.h"
#include "csrc/wire/http_answer.h"

namespace pelton {
namespace {

constexpr size_t kPooledJobsMax = 1024;
constexpr size_t kSweptMin = 256;  // connections looked at in one call of sweep()
constexpr size_t kSweepShare = 4;  // or this share of all
// Printing a number as JSON takes about as long as copying so many bytes.
constexpr int64_t kJsonBytesPerNumber = 64;
// So many bytes of raw tensors are copied while one of JSON is written.
constexpr int64_t kRawBytesPerJsonByte = 16;
// Of Retry-After, so that callers turned away together do not come back together.
constexpr double kRetryJitter = 0.25;

const Clock& default_clock() {
  static const MonotonicClock clock;
  return clock;
}

// What is added to the clock's time to get that of day.
Nanos unix_offset(const Clock& clock) {
  const auto of_day = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(of_day).count() - clock.now();
}

uint64_t random_seed() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

// SplitMix64 (Steele, Lea, Flood 2014): well-mixed bits of a counter.
uint64_t mix(uint64_t value) {
  value += 0x9e37'79b9'7f4a'7c15;
  value = (value ^ (value >> 30)) * 0xbf58'476d'1ce4'e5b9;
  value = (value ^ (value >> 27)) * 0x94d0'49bb'1331'11eb;
  return value ^ (value >> 31);
}

// In [0, 1).
double random_fraction(uint64_t bits) { return static_cast<double>(bits >> 11) * 0x1p-53; }

void add(std::atomic<uint64_t>& counter) {
  counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

}  // namespace

Front::Front(const FrontOptions& options, LoopHooks& hooks)
    : options_(options),
      hooks_(hooks),
      clock_(options.clock != nullptr ? *options.clock : default_clock()),
      completions_(static_cast<size_t>(options.requests_max)),
      offload_(completions_),
      models_(std::make_shared<const ModelTable>()),
      unix_offset_(unix_offset(clock_)),
      random_state_(random_seed()) {}

Front::~Front() { close(); }

void Front::close() {
  if (std::exchange(is_closed_, true)) return;
  for (const auto& job : jobs_) cancel_pieces(*job);
  offload_.close();
  completions_.close();
  on_completions();
}

// -- models --

void Front::set_model(std::string name, ServedVersions versions) {
  has_python_models_ = has_python_models_ || versions.empty();
  auto changed = std::make_shared<ModelTable>(*models_);
  changed->insert_or_assign(std::move(name), std::move(versions));
  models_ = std::move(changed);
}

void Front::remove_model(const std::string& name) {
  auto changed = std::make_shared<ModelTable>(*models_);
  changed->erase(name);
  models_ = std::move(changed);
}

bool Front::is_python_model(std::string_view name) const {
  if (!has_python_models_) return false;
  const auto found = models_->find(name);
  return found != models_->end() && found->second.empty();
}

// -- connections --

bool Front::add_connection(Connection& connection) {
  connection.index_ = static_cast<uint32_t>(connections_.size());
  connections_.push_back(&connection);
  return static_cast<int64_t>(connections_.size()) <= options_.connections_max;
}

void Front::remove_connection(Connection& connection) {
  connections_.back()->index_ = connection.index_;
  connections_[connection.index_] = connections_.back();
  connections_.pop_back();
  if (connection.is_dirty_)
    std::replace(dirty_.begin(), dirty_.end(), &connection, static_cast<Connection*>(nullptr));
  connection.is_dirty_ = false;
}

// Of the engine's room a connection gets no more than a fair share, and one that sends one request
// after the other always gets some.
int Front::pipelined_max() const {
  const auto connections = static_cast<int64_t>(std::max<size_t>(connections_.size(), 1));
  const int64_t share = std::max<int64_t>(options_.requests_max / connections, 4);
  return static_cast<int>(std::min<int64_t>(share, Connection::kPipelinedMax));
}

void Front::sweep() {
  const Nanos now = clock_.now();
  size_t count =
      std::min(connections_.size(), std::max(kSweptMin, connections_.size() / kSweepShare));
  for (; count > 0; --count) {
    if (swept_ >= connections_.size()) swept_ = 0;
    connections_[swept_++]->check_time(now);
  }
}

// -- jobs --

Job& Front::new_job(Connection& connection) {
  Job* job = free_jobs_;
  if (job != nullptr) {
    free_jobs_ = std::exchange(job->next, nullptr);
  } else {
    jobs_.push_back(std::make_unique<Job>());
    job = jobs_.back().get();
  }
  job->number = ++job_number_;
  job->connection = &connection;
  job->arrival = job->complete = now_;
  add(accepted_);
  return *job;
}

void Front::hold(Job& job, int64_t bytes) {
  const int64_t change = bytes - job.held_bytes;
  job.held_bytes = bytes;
  count_body_bytes(change);
  if (job.connection != nullptr) job.connection->held_bytes_ += change;
}

void Front::release(Job& job) {
  add(answered_);
  job.connection->held_bytes_ -= job.held_bytes;
  job.connection = nullptr;
  recycle_if_unused(job);
}

// The client is gone: what has not started is not started.
void Front::abandon(Job& job) {
  job.connection->held_bytes_ -= job.held_bytes;
  job.connection = nullptr;
  add(answered_);
  if (job.state == JobState::kRunning) cancel_pieces(job);
  recycle_if_unused(job);
}

void Front::recycle_if_unused(Job& job) {
  if (job.is_in_queue || job.engaged > 0) return;
  if (job.is_past_gates) leave_gates(job, RequestEnd::kCancelled, clock_.now());
  hold(job, 0);
  job.clear();
  job.number = 0;
  job.next = std::exchange(free_jobs_, &job);
}

bool Front::has_room_for(int64_t bytes) const {
  return body_bytes_.load(std::memory_order_relaxed) + bytes <= options_.bodies_bytes_max;
}

ProblemPtr Front::check_head(Job& job) {
  if (job.route == RouteKind::kInfer) {
    PELTON_RETURN_IF_PROBLEM(pelton::find_model(*models_, job.model_name, job.version, job.model));
  }
  if (is_closed_) return make_problem(ProblemKind::kUnavailable, "the server is closed");
  if (!has_room_for(job.head.content_length)) {
    return no_room_for_body();
  }
  if (job.route != RouteKind::kInfer) return nullptr;
  const FormatFields fields{job.head.content_type, job.head.accept,
                            job.head.inference_header_content_length};
  BodyFormat format;
  // In this order the other path finds them too.
  ProblemPtr problem = request_format(fields, format);
  if (problem == nullptr) problem = answer_format(fields, format, job.answer_format);
  if (problem != nullptr) count_problem(job, problem->kind);
  return problem;
}

bool Front::is_heavy(const Job& job) const {
  const auto bytes = static_cast<int64_t>(job.body.size());
  if (job.route == RouteKind::kEmbeddings) return bytes >= options_.offload_text_bytes_min;
  if (job.model->takes_texts_here() && bytes >= options_.offload_text_bytes_min) return true;
  if (bytes < options_.offload_bytes_min) return false;
  // Of a body with raw tensors only the head is read; too long a number is refused at once.
  if (!job.head.inference_header_content_length) return true;
  const std::string_view text = *job.head.inference_header_content_length;
  int64_t head_bytes = 0;
  std::from_chars(text.data(), text.data() + text.size(), head_bytes);
  return head_bytes >= options_.offload_bytes_min;
}

void Front::count_problem(const Job& job, ProblemKind kind) {
  if (job.model == nullptr) return;
  job.model->gates().counters().count(kind, clock_.now() - job.arrival);
}

void Front::start(Job& job) {
  if (job.problem != nullptr) return refuse(job, std::move(job.problem));
  job.state = JobState::kPreparing;
  if (is_heavy(job)) return offload(job, OffloadKind::kPrepare);
  prepare(job, {*models_, options_.decode, options_.deadline_default}, memory_);
  prepared(job);
}

void Front::offload(Job& job, OffloadKind kind) {
  ++job.engaged;
  if (offload_.submit({&job, kind, models_, &options_.decode, options_.deadline_default})) return;
  --job.engaged;
  refuse(job, make_problem(ProblemKind::kQueueFull, "too many large requests wait to be read"));
}

void Front::prepared(Job& job) {
  if (job.connection == nullptr) return recycle_if_unused(job);
  if (job.is_for_python) {
    job.state = JobState::kForwarding;
    return make_dirty(*job.connection);
  }
  const Nanos now = begin_event();
  if (job.problem == nullptr) {
    job.decode_ns = now - job.complete;
    job.model->gates().counters().decoded(job.decode_ns, static_cast<int64_t>(job.body.size()));
    job.problem = pass_gates(job, now);
  }
  if (job.problem != nullptr) {
    count_problem(job, job.problem->kind);
    return refuse(job, std::move(job.problem));
  }
  run(job, now);
}

ProblemPtr Front::pass_gates(Job& job, Nanos now) {
  job.gate.row_count = job.bound.row_count;
  job.gate.token_count = job.bound.token_count;
  job.gate.body_bytes = static_cast<int64_t>(job.body.size());
  job.gate.arrival = job.arrival;
  job.gate.deadline = job.deadline;
  job.gate.priority = job.infer.priority;
  const GateDecision decision = job.model->gates().before(job.gate, now);
  job.is_past_gates = decision.kind == GateDecision::Kind::kAccept;
  return job.is_past_gates ? nullptr : decision.refusal.problem();
}

void Front::leave_gates(Job& job, RequestEnd end, Nanos now) {
  job.is_past_gates = false;
  job.model->gates().after(job.gate, end, now);
}

// -- running --

void Front::run(Job& job, Nanos now) {
  job.state = JobState::kRunning;
  job.problem = cut_into_pieces(job);
  if (job.problem != nullptr) return finish_run(job);
  const Status status = submit_pieces(job, now);
  if (!status.ok()) {
    job.problem = problem_of(status, *job.model);
    cancel_pieces(job);
  }
  if (job.engaged == 0) return finish_run(job);
  if (job.deadline == kNoDeadline) return;
  const Nanos earliest = deadlines_.earliest();
  deadlines_.add({job.deadline, job.number, &job},
                 [](const auto& entry) { return entry.job->number != entry.number; });
  if (job.deadline < earliest) hooks_.call_at(job.deadline);
}

ProblemPtr Front::cut_into_pieces(Job& job) {
  const ServedModel& model = *job.model;
  const ModelContract& contract = model.contract();
  const BoundRequest& bound = job.bound;
  size_t bytes = 0;
  const auto rounded = [](int64_t size) { return (static_cast<size_t>(size) + 63) / 64 * 64; };
  for (const int output : bound.outputs) {
    bytes += rounded(bound.row_count * model.output_row_bytes(output));
  }
  if (!has_room_for(static_cast<int64_t>(bytes))) return no_room_for_body();
  hold(job, static_cast<int64_t>(job.body.size() + bytes));
  std::byte* next = job.outputs.reserve(bytes);
  job.output_begins.assign(contract.outputs.size(), nullptr);
  for (const int output : bound.outputs) {
    job.output_begins[static_cast<size_t>(output)] = next;
    next += rounded(bound.row_count * model.output_row_bytes(output));
  }
  PieceCutter cutter(model, bound);
  job.piece_count = job.next_piece = job.oldest_piece = 0;
  while (!cutter.is_done()) {
    if (job.pieces.size() == job.piece_count) job.pieces.emplace_back();
    cutter.next(job.output_begins, job.pieces[job.piece_count++]);
  }
  return nullptr;
}

// Submits as many pieces as may be under way. Not ok: none that follow are submitted.
Status Front::submit_pieces(Job& job, Nanos now) {
  const ServedModel::Options& model = job.model->options();
  while (job.next_piece < job.piece_count && job.engaged < model.pieces_in_flight_max) {
    Piece& piece = job.pieces[job.next_piece];
    Submission submission;
    submission.model = model.id;
    submission.priority = job.infer.priority;
    submission.deadline = job.deadline;
    submission.request = piece.view;
    submission.arrival = now;
    submission.sink = &completions_;
    submission.user = &job;
    if (job.deadline <= now) {
      return Status(StatusCode::kDeadlineExceeded,
                    "the deadline passed before the request was queued");
    }
    PELTON_RETURN_IF_ERROR(model.runner->check(piece.view));
    const SubmitResult result = model.engine->submit(submission, Wake::kLater);
    if (!result.ok()) return result.status();
    piece.ticket = result.value();
    piece.is_out = true;
    ++job.next_piece;
    ++job.engaged;
    ++in_flight_;
    if (std::find(to_wake_.begin(), to_wake_.end(), model.engine) == to_wake_.end()) {
      to_wake_.push_back(model.engine);
    }
  }
  return Status();
}

// What an event has submitted is seen to. Alone, a request should not wait for the turn's end;
// among others, one wake-up serves them all.
void Front::after_event(Connection& connection) {
  if (in_flight_ <= 1 && !is_turn_end_due_) run_or_wake();
  connection.advance();
  flush_dirty();
}

void Front::call_at_turn_end_if_due() {
  if (to_wake_.empty() || std::exchange(is_turn_end_due_, true)) return;
  hooks_.call_at_turn_end();
}

void Front::end_turn() {
  is_turn_end_due_ = false;
  run_or_wake();
  flush_dirty();
}

// Has short batches run on this thread, where the engine's own sleeps, and takes their completions
// at once. Those may have brought more, which is the engine's.
void Front::run_or_wake() {
  if (to_wake_.empty()) return;
  completions_.mute();
  for (Engine* engine : to_wake_) engine->help(options_.help_budget);
  to_wake_.clear();
  completions_.drain_muted(drained_);
  handle_drained();
  for (Engine* engine : to_wake_) engine->wake();
  to_wake_.clear();
}

void Front::cancel_pieces(Job& job) {
  const size_t end = std::exchange(job.next_piece, job.piece_count);
  for (size_t i = job.oldest_piece; i < end; ++i) {
    if (job.pieces[i].is_out) job.model->options().engine->cancel(job.pieces[i].ticket);
  }
}

void Front::on_completions() {
  completions_.drain(drained_);
  handle_drained();
  flush_dirty();
}

void Front::handle_drained() {
  begin_event();
  for (Completion& completion : drained_) {
    Job& job = *static_cast<Job*>(completion.user);
    if (completion.ticket != 0) {
      piece_done(job, completion);
      continue;
    }
    --job.engaged;
    if (job.state == JobState::kPreparing) {
      prepared(job);
    } else {
      encoded(job);
    }
  }
  drained_.clear();
}

void Front::piece_done(Job& job, const Completion& completion) {
  --job.engaged;
  --in_flight_;
  for (size_t i = job.oldest_piece; i < job.next_piece; ++i) {
    if (job.pieces[i].ticket == completion.ticket) job.pieces[i].is_out = false;
  }
  while (job.oldest_piece < job.next_piece && !job.pieces[job.oldest_piece].is_out) {
    ++job.oldest_piece;
  }
  if (completion.started > 0) {
    job.model->gates().ran(job.gate, {.queued = completion.queued,
                                      .started = completion.started,
                                      .ended = completion.ended,
                                      .rows = completion.batch_rows,
                                      .tokens = completion.batch_tokens});
  }
  Status status = completion.status;
  if (status.ok() && job.state == JobState::kRunning && job.next_piece < job.piece_count) {
    status = submit_pieces(job, completion.ended);
  }
  if (!status.ok() && job.state == JobState::kRunning && job.problem == nullptr) {
    job.problem = problem_of(status, *job.model);
    cancel_pieces(job);
  }
  if (job.engaged == 0) finish_run(job);
}

// Every piece is over.
void Front::finish_run(Job& job) {
  const bool is_gone = job.connection == nullptr;
  // At its deadline a job is answered while its pieces are still out.
  const bool was_answered = job.state != JobState::kRunning;
  RequestEnd end = job.problem != nullptr ? end_of(job.problem->kind) : RequestEnd::kOk;
  if (is_gone) end = RequestEnd::kCancelled;
  if (was_answered) end = RequestEnd::kExpired;
  job.ran = now_;
  leave_gates(job, end, job.ran);
  if (was_answered) return recycle_if_unused(job);
  if (is_gone) {
    count_problem(job, ProblemKind::kCancelled);
    return recycle_if_unused(job);
  }
  if (job.problem == nullptr) return encode(job);
  if (job.problem->kind == ProblemKind::kInternal) {
    hooks_.log_failure(job.head.path, job.request_id(), job.problem->message);
  }
  count_problem(job, job.problem->kind);
  refuse(job, std::move(job.problem));
}

void Front::on_timer() {
  const Nanos now = begin_event();
  while (deadlines_.earliest() <= now) {
    const DeadlineHeap::Entry due = deadlines_.take();
    Job& job = *due.job;
    if (job.number != due.number || job.state != JobState::kRunning) continue;
    cancel_pieces(job);
    if (job.connection == nullptr) continue;
    count_problem(job, ProblemKind::kDeadlineExceeded);
    refuse(job, make_problem(ProblemKind::kDeadlineExceeded,
                             "the deadline passed before there was an answer"));
  }
  if (deadlines_.earliest() != kNoDeadline) hooks_.call_at(deadlines_.earliest());
  flush_dirty();
}

// -- answering --

void Front::encode(Job& job) {
  job.state = JobState::kEncoding;
  int64_t bytes = 0;
  for (const int output : job.bound.outputs) {
    const int64_t row = job.model->output_row_bytes(output);
    bytes += job.bound.row_count * row;
  }
  const bool is_raw = job.route == RouteKind::kEmbeddings
                          ? job.embeddings.base64
                          : job.infer.outputs.empty() && job.infer.binary_output_default;
  const int64_t offloaded_min = options_.offload_bytes_min * (is_raw ? kRawBytesPerJsonByte : 1);
  if (!is_raw) bytes = bytes / 4 * kJsonBytesPerNumber;
  if (bytes >= offloaded_min) return offload(job, OffloadKind::kEncode);
  encode_answer(job, memory_);
  encoded(job);
}

void Front::encoded(Job& job) {
  if (job.connection == nullptr) return recycle_if_unused(job);
  if (job.problem != nullptr) {
    count_problem(job, job.problem->kind);
    return refuse(job, std::move(job.problem));
  }
  job.drop_sources();
  hold(job, static_cast<int64_t>(job.body.size() + job.reply_body.size()));
  const Nanos now = begin_event();
  job.model->gates().counters().count_ok(
      job.gate, {.decode_ns = job.decode_ns,
                 .encode_ns = now - job.ran,
                 .total_ns = now - job.arrival,
                 .body_bytes = static_cast<int64_t>(job.reply_body.size())});
  const bool may_compress =
      static_cast<int64_t>(job.reply_body.size()) >= options_.compress_bytes_min &&
      job.head.accept_encoding && !job.embeddings.base64;
  const std::string_view coding =
      may_compress ? accepted_coding(*job.head.accept_encoding) : std::string_view();
  if (coding.empty()) return make_ready(job);
  job.state = JobState::kCompressing;
  job.coding = coding;
  ++job.engaged;
  compressing_[job.number] = &job;
  hooks_.compress(job.number, coding, job.reply_body);
}

void Front::on_compressed(uint64_t job_number, std::string_view body) {
  const auto found = compressing_.find(job_number);
  if (found == compressing_.end()) return;
  Job& job = *found->second;
  compressing_.erase(found);
  --job.engaged;
  if (job.connection == nullptr) return recycle_if_unused(job);
  if (body.empty()) {
    job.coding = {};
  } else {
    job.reply_body.assign(body);
    hold(job, static_cast<int64_t>(job.body.size() + job.reply_body.size()));
  }
  make_ready(job);
  flush_dirty();
}

void Front::make_ready(Job& job) {
  job.state = JobState::kReady;
  job.status = 200;
  make_dirty(*job.connection);
}

void Front::refuse(Job& job, ProblemPtr problem) {
  job.reply_body.clear();
  job.coding = {};
  const std::string_view path = job.head.target;
  const ErrorContext context{
      .shape = path.starts_with("/v1/") ? ErrorShape::kOpenAi : ErrorShape::kProblem,
      .path = job.head.path,
      .request_id = make_request_id(job),
      .content_type = job.head.content_type,
      .accept = job.head.accept};
  job.encoded = EncodedHead{};
  job.encoded.content_type = encode_error(*problem, context, job.reply_body);
  job.status = problem_status(problem->kind).http;
  job.reply_head.clear();
  append_retry_headers(*problem, kRetryJitter * random_fraction(mix(random_state_ ^ job.number)),
                       job.reply_head);
  append_problem_fields(*problem, job.reply_head);
  job.state = JobState::kReady;
  make_dirty(*job.connection);
}

void Front::append_reply_head(const Job& job, bool closes, std::string& out) {
  AnswerHead head;
  head.status = job.status;
  head.content_type = job.encoded.content_type;
  head.content_length = static_cast<int64_t>(job.reply_body.size());
  head.json_bytes = job.encoded.json_bytes;
  head.request_id = make_request_id(job);
  head.common_fields = common_fields_;
  more_fields_.assign(job.reply_head);
  if (job.status == 200) {
    more_fields_ += "cache-control: no-store\r\n";
    if (job.bound.truncated > 0) {
      more_fields_ += "pelton-truncated: " + std::to_string(job.bound.truncated) + "\r\n";
    }
    if (!job.coding.empty()) {
      more_fields_ += "content-encoding: ";
      more_fields_ += job.coding;
      more_fields_ += "\r\nvary: accept-encoding\r\n";
    }
  }
  head.more_fields = more_fields_;
  head.close = closes;
  append_answer_head(head, out);
}

// The caller's, where it is fit to be echoed, else a new one: a UUID of the job's arrival and
// random bits, the same every time it is asked for.
std::string_view Front::make_request_id(const Job& job) {
  const std::string_view given = job.request_id();
  if (!given.empty()) return given;
  request_id_.clear();
  const int64_t unix_ms = (job.arrival + unix_offset_) / 1'000'000;
  append_uuid7(unix_ms, mix(random_state_ + 2 * job.number),
               mix(random_state_ + 2 * job.number + 1), request_id_);
  return request_id_;
}

void Front::make_dirty(Connection& connection) {
  if (connection.is_parsing_) return;  // it looks at its queue when it is done
  if (std::exchange(connection.is_dirty_, true)) return;
  dirty_.push_back(&connection);
}

void Front::flush_dirty() {
  // Writing may make others dirty, by what they read then.
  for (size_t i = 0; i < dirty_.size(); ++i) {
    Connection* const connection = dirty_[i];
    if (connection == nullptr) continue;
    connection->is_dirty_ = false;
    connection->advance();
  }
  dirty_.clear();
  call_at_turn_end_if_due();
}

void Front::log_client_gone(const Job& job) {
  add(clients_gone_);
  hooks_.log_client_gone(job.head.path, job.request_id());
}

FrontStats Front::stats() const {
  const auto load = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
  return {.accepted = load(accepted_),
          .answered = load(answered_),
          .forwarded = load(forwarded_),
          .refused_messages = load(refused_messages_),
          .clients_gone = load(clients_gone_),
          .body_bytes = load(body_bytes_)};
}

}  // namespace pelton
