#include "bench/server/loadgen/load.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <deque>
#include <utility>

#include "bench/server/loadgen/connection.h"
#include "bench/server/loadgen/sockets.h"

namespace pelton::bench {

std::atomic<bool> stop_requested = false;

namespace {

constexpr int kEventsMax = 256;
constexpr size_t kReadBytes = 256 * 1024;
constexpr int64_t kWaitNsMax = 100'000'000;  // how late a signal is seen
constexpr int64_t kConnectFailuresMax = 1000;
constexpr double kNsPerSecond = 1e9;

double cpu_seconds() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// A client that leaves late, unless the answer comes before.
struct Leaving {
  int64_t at_ns;
  size_t index;    // of the connection
  int64_t number;  // of the request
};

class LoadRun {
 public:
  explicit LoadRun(const LoadOptions& options)
      : options_(options), buffer_(kReadBytes), connections_(connection_count(options)) {}
  ~LoadRun();
  LoadRun(const LoadRun&) = delete;
  LoadRun& operator=(const LoadRun&) = delete;

  Status connect_all();
  void run();
  LoadReport take_report() { return std::move(report_); }

 private:
  static size_t connection_count(const LoadOptions& options) {
    return static_cast<size_t>(options.connections);
  }
  bool open_loop() const { return options_.rate > 0; }
  int64_t due_of(int64_t number) const {
    const double offset = static_cast<double>(number) / options_.rate * kNsPerSecond;
    return report_.begin_ns + static_cast<int64_t>(offset);
  }
  bool may_start(int64_t now) const;
  void start_due(int64_t now);
  void start_request(size_t index, int64_t due_ns);
  void send_rest(size_t index);
  void sent_whole(size_t index);
  void handle(size_t index, uint32_t events);
  void read_reply(size_t index);
  void complete(size_t index, bool last_here);
  void fail(size_t index, int64_t& counter, const std::string& why);
  void leave(size_t index);
  void leave_late(int64_t now);
  void make_free(size_t index);
  void reconnect(size_t index);
  bool watch(size_t index);
  void set_wants_write(size_t index, bool wants);
  timespec wait_time(int64_t now) const;
  void finish();
  void count_failed(int64_t due_ns);
  Window* window_at(int64_t time_ns);

  const LoadOptions options_;
  std::vector<char> buffer_;
  std::vector<Connection> connections_;
  std::deque<size_t> free_;  // in the order in which they became free; each connection at most once
  std::deque<Leaving> leaving_;  // by moment; at most the requests of one delay
  int epoll_ = -1;
  int64_t end_ns_ = 0;
  int64_t in_flight_ = 0;
  int64_t due_total_ = INT64_MAX;
  LoadReport report_;
};

LoadRun::~LoadRun() {
  for (const Connection& connection : connections_) {
    if (connection.fd >= 0) close(connection.fd);
  }
  if (epoll_ >= 0) close(epoll_);
}

Status LoadRun::connect_all() {
  PELTON_RETURN_IF_ERROR(allow_descriptors(options_.connections));
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) return internal_error(std::string("epoll_create1: ") + std::strerror(errno));
  for (size_t i = 0; i < connections_.size(); ++i) {
    Result<int> fd = connect_now(options_.address);
    if (!fd.ok()) return fd.status();
    connections_[i].fd = fd.value();
    // Connections that are made anew every so often do not do so all at once.
    if (options_.reconnect_every > 0) {
      connections_[i].answers = static_cast<int64_t>(i) % options_.reconnect_every;
    }
    if (!watch(i)) return internal_error(std::string("epoll_ctl: ") + std::strerror(errno));
    free_.push_back(i);
  }
  report_.connects = options_.connections;
  return Status();
}

bool LoadRun::watch(size_t index) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.u64 = index;
  return epoll_ctl(epoll_, EPOLL_CTL_ADD, connections_[index].fd, &event) == 0;
}

void LoadRun::set_wants_write(size_t index, bool wants) {
  Connection& connection = connections_[index];
  if (connection.wants_write == wants) return;
  connection.wants_write = wants;
  epoll_event event = {};
  event.events = wants ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u64 = index;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, connection.fd, &event);
}

void LoadRun::run() {
  const double cpu_before = cpu_seconds();
  report_.begin_ns = now_ns();
  end_ns_ = report_.begin_ns + static_cast<int64_t>(options_.seconds * kNsPerSecond);
  if (options_.window_ns > 0) {
    const int64_t length = end_ns_ - report_.begin_ns;
    report_.windows.resize(static_cast<size_t>(length / options_.window_ns));
  }
  if (open_loop()) {
    const double scheduled = std::ceil(options_.seconds * options_.rate);
    due_total_ = std::min(options_.count_max, static_cast<int64_t>(scheduled));
  }
  const int64_t drain_ns = static_cast<int64_t>(options_.drain_seconds * kNsPerSecond);
  epoll_event events[kEventsMax];
  int64_t now = report_.begin_ns;
  while (true) {
    if (stop_requested.load(std::memory_order_relaxed)) end_ns_ = std::min(end_ns_, now);
    start_due(now);
    leave_late(now);
    const bool backlog = open_loop() && now < end_ns_ + drain_ns && report_.started < due_total_ &&
                         !stop_requested.load(std::memory_order_relaxed);
    if (in_flight_ == 0 && !backlog && !may_start(now)) break;
    if (now > end_ns_ + drain_ns || report_.connect_failures > kConnectFailuresMax) break;
    const timespec wait = wait_time(now);
    const int count = epoll_pwait2(epoll_, events, kEventsMax, &wait, nullptr);
    for (int i = 0; i < count; ++i) handle(events[i].data.u64, events[i].events);
    now = now_ns();
  }
  report_.seconds = static_cast<double>(now_ns() - report_.begin_ns) / kNsPerSecond;
  finish();
  report_.client_cpu_seconds = cpu_seconds() - cpu_before;
}

// The closed loop starts until its end; the open loop whatever is due, late as it may be.
bool LoadRun::may_start(int64_t now) const {
  if (stop_requested.load(std::memory_order_relaxed)) return false;
  if (open_loop()) return report_.started < due_total_ && due_of(report_.started) <= now;
  return report_.started < options_.count_max && now < end_ns_;
}

void LoadRun::start_due(int64_t now) {
  while (!free_.empty() && may_start(now)) {
    if (report_.connect_failures > kConnectFailuresMax) return;
    const size_t index = free_.front();
    free_.pop_front();
    start_request(index, open_loop() ? due_of(report_.started) : now_ns());
  }
}

void LoadRun::start_request(size_t index, int64_t due_ns) {
  Connection& connection = connections_[index];
  connection.due_ns = due_ns;
  connection.number = report_.started++;
  connection.in_flight = true;
  connection.reply.reset();
  ++in_flight_;
  const std::string& request =
      options_.requests[static_cast<size_t>(connection.number) % options_.requests.size()];
  connection.unsent = request;
  connection.leave = Leave::kNever;
  const int64_t turn = connection.number + 1;
  if (options_.cancel_every > 0 && turn % options_.cancel_every == 0) {
    constexpr Leave kWays[] = {Leave::kHalfSent, Leave::kAtOnce, Leave::kLater};
    connection.leave = kWays[turn / options_.cancel_every % 3];
    if (connection.leave == Leave::kHalfSent) {
      connection.unsent = connection.unsent.substr(0, request.size() / 2);
    }
  }
  if (connection.fd < 0) reconnect(index);
  if (connection.fd >= 0) {
    send_rest(index);
  } else {
    fail(index, report_.lost, "the server takes no connection");
  }
}

void LoadRun::send_rest(size_t index) {
  Connection& connection = connections_[index];
  while (!connection.unsent.empty()) {
    const ssize_t count =
        send(connection.fd, connection.unsent.data(), connection.unsent.size(), MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      // ENOTCONN: the connection is still being made.
      if (errno == EAGAIN || errno == ENOTCONN) return set_wants_write(index, true);
      return fail(index, report_.lost, std::string("send: ") + std::strerror(errno));
    }
    connection.unsent.remove_prefix(static_cast<size_t>(count));
  }
  set_wants_write(index, false);
  sent_whole(index);
}

void LoadRun::sent_whole(size_t index) {
  Connection& connection = connections_[index];
  if (connection.leave == Leave::kHalfSent) return leave(index);
  ++report_.sent;
  if (connection.leave == Leave::kAtOnce) return leave(index);
  if (connection.leave == Leave::kLater) {
    leaving_.push_back({now_ns() + options_.cancel_delay_ns, index, connection.number});
  }
}

void LoadRun::leave(size_t index) {
  ++report_.cancelled;
  connections_[index].in_flight = false;
  --in_flight_;
  reconnect(index);
  make_free(index);
}

void LoadRun::leave_late(int64_t now) {
  while (!leaving_.empty() && leaving_.front().at_ns <= now) {
    const Leaving leaving = leaving_.front();
    leaving_.pop_front();
    const Connection& connection = connections_[leaving.index];
    if (connection.in_flight && connection.number == leaving.number) leave(leaving.index);
  }
}

void LoadRun::make_free(size_t index) { free_.push_back(index); }

// The connection's socket is closed and another takes its place; none where none can be had.
void LoadRun::reconnect(size_t index) {
  Connection& connection = connections_[index];
  if (connection.fd >= 0) close(connection.fd);
  connection.fd = -1;
  connection.wants_write = false;
  connection.answers = 0;
  const int fd = begin_connect(options_.address);
  ++report_.connects;
  if (fd < 0) {
    ++report_.connect_failures;
    return;
  }
  connection.fd = fd;
  watch(index);
}

void LoadRun::handle(size_t index, uint32_t events) {
  Connection& connection = connections_[index];
  if (connection.fd < 0) return;  // closed by an event before this one
  if ((events & EPOLLOUT) != 0 && connection.in_flight) send_rest(index);
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && connections_[index].fd >= 0) {
    read_reply(index);
  }
}

void LoadRun::read_reply(size_t index) {
  Connection& connection = connections_[index];
  const ssize_t count = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
  const int error = count < 0 ? errno : 0;
  if (error == EAGAIN || error == EINTR || error == ENOTCONN) return;
  if (error == ECONNREFUSED) ++report_.connect_failures;
  if (!connection.in_flight) {
    if (count > 0) ++report_.unsolicited;
    return reconnect(index);  // the server closed an idle connection, as it may
  }
  if (count <= 0) {
    const std::string why = count < 0 ? std::strerror(error) : "closed by the server";
    return fail(index, report_.lost, "before the answer: " + why);
  }
  const std::string_view bytes(buffer_.data(), static_cast<size_t>(count));
  const ReplyReader::Progress progress = connection.reply.feed(bytes);
  if (progress.state == ReplyReader::State::kIncomplete) return;
  if (progress.state == ReplyReader::State::kMalformed) {
    const std::string head = connection.reply.head().substr(0, 200);
    return fail(index, report_.malformed, "an answer that is not understood: " + head);
  }
  const bool excess = progress.consumed < bytes.size();
  if (excess) ++report_.unsolicited;
  complete(index, excess);
}

void LoadRun::complete(size_t index, bool last_here) {
  Connection& connection = connections_[index];
  const int64_t now = now_ns();
  connection.in_flight = false;
  --in_flight_;
  ++report_.answered;
  const int status = connection.reply.status();
  ++report_.statuses[static_cast<size_t>(std::clamp(status, 0, 599))];
  if (status == 200) {
    ++report_.ok;
    const int64_t latency = std::max<int64_t>(0, now - connection.due_ns);
    report_.latencies.record(latency);
    if (Window* window = window_at(connection.due_ns)) window->latencies.record(latency);
    if (Window* window = window_at(now)) ++window->answered;
  } else {
    if (report_.first_error.empty()) report_.first_error = "status " + std::to_string(status);
    count_failed(connection.due_ns);
  }
  ++connection.answers;
  const int64_t most = options_.reconnect_every;
  last_here = last_here || connection.reply.closes() || (most > 0 && connection.answers >= most) ||
              !connection.unsent.empty();
  if (last_here) reconnect(index);
  if (open_loop() || !may_start(now)) return make_free(index);
  start_request(index, now);
}

void LoadRun::fail(size_t index, int64_t& counter, const std::string& why) {
  Connection& connection = connections_[index];
  ++counter;
  if (report_.first_error.empty()) report_.first_error = why;
  connection.in_flight = false;
  --in_flight_;
  count_failed(connection.due_ns);
  if (connection.fd >= 0) reconnect(index);
  make_free(index);
}

// In the open loop a request that failed was waited for until the end, at least.
void LoadRun::count_failed(int64_t due_ns) {
  Window* window = window_at(due_ns);
  if (window != nullptr) ++window->failed;
  if (!open_loop()) return;
  const int64_t waited = std::max<int64_t>(0, std::max(now_ns(), end_ns_) - due_ns);
  report_.latencies.record(waited);
  if (window != nullptr) window->latencies.record(waited);
}

timespec LoadRun::wait_time(int64_t now) const {
  int64_t until = now + kWaitNsMax;
  if (open_loop() && !free_.empty() && report_.started < due_total_) {
    until = std::min(until, due_of(report_.started));
  }
  if (!open_loop() && now < end_ns_) until = std::min(until, end_ns_);
  if (!leaving_.empty()) until = std::min(until, leaving_.front().at_ns);
  const int64_t wait = std::max<int64_t>(0, until - now);
  return {static_cast<time_t>(wait / 1'000'000'000), static_cast<long>(wait % 1'000'000'000)};
}

Window* LoadRun::window_at(int64_t time_ns) {
  if (report_.windows.empty() || time_ns < report_.begin_ns) return nullptr;
  const auto index = static_cast<size_t>((time_ns - report_.begin_ns) / options_.window_ns);
  return index < report_.windows.size() ? &report_.windows[index] : nullptr;
}

void LoadRun::finish() {
  for (const Connection& connection : connections_) {
    if (!connection.in_flight) continue;
    ++report_.unanswered;
    count_failed(connection.due_ns);
  }
  if (!open_loop()) return;
  const int64_t now = now_ns();
  for (int64_t number = report_.started; number < due_total_ && due_of(number) < now; ++number) {
    if (due_of(number) >= end_ns_) break;
    ++report_.unsent;
    count_failed(due_of(number));
  }
}

}  // namespace

Result<LoadReport> run_load(const LoadOptions& options) {
  LoadRun run(options);
  PELTON_RETURN_IF_ERROR(run.connect_all());
  run.run();
  return run.take_report();
}

}  // namespace pelton::bench
