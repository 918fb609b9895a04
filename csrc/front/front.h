// Front: the request path of one event loop, stage by stage: wire, gates, batcher, wire.
//
// Life of a request: a Connection reads its head and body into a Job; the Front decodes and binds
// it (large ones on the offload thread), asks the model's gates, cuts it into pieces that fit a
// batch and submits them; completions come back through one queue with one wake-up a batch; the
// answer is encoded, and the Connection writes it when its turn has come.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "csrc/base/clock.h"
#include "csrc/front/connection.h"
#include "csrc/front/deadline_heap.h"
#include "csrc/front/job.h"
#include "csrc/front/offload.h"
#include "csrc/front/prepare.h"
#include "csrc/front/served_model.h"
#include "csrc/front/transport.h"
#include "csrc/serve/completion.h"
#include "csrc/wire/http_head.h"

namespace pelton {

struct FrontOptions {
  DecodeLimits decode;
  HttpLimits http;
  int64_t requests_max = 4096;                  // with the engine, of all connections
  int64_t bodies_bytes_max = int64_t{1} << 30;  // of bodies and answers held at a time
  int64_t connections_max = 16'384;
  int64_t messages_per_connection_max = 10'000;  // then it is closed
  Nanos head_max = 10'000'000'000;               // for a head to come
  Nanos keep_alive = 75'000'000'000;             // between requests
  Nanos body_grace = 5'000'000'000;              // then a body must come at this pace:
  int64_t body_bytes_per_s_min = 1024;
  Nanos write_stall_max = 30'000'000'000;     // for a client to take its answer
  Nanos deadline_default = 0;                 // of requests without one; 0: none
  int64_t compress_bytes_min = 16 << 10;      // answers from here on, where asked for
  int64_t offload_bytes_min = 256 << 10;      // bodies and answers that take long
  int64_t offload_text_bytes_min = 16 << 10;  // likewise, of texts to be tokenized
  // Batches expected to be shorter run on the loop's thread while the engine's sleeps: waking it,
  // and being woken by it, takes longer.
  Nanos help_budget = 20'000;
  const Clock* clock = nullptr;  // outlives the Front
};

struct FrontStats {
  uint64_t accepted = 0;          // requests whose head was read and that were taken
  uint64_t answered = 0;          // of those, the ones that are over
  uint64_t forwarded = 0;         // messages handed to the other protocol
  uint64_t refused_messages = 0;  // violations of HTTP
  uint64_t clients_gone = 0;      // requests whose client went away before the answer
  int64_t body_bytes = 0;         // of bodies and answers, held now
};

// Used on one thread, the loop's, but for stats(). `hooks` outlives it.
class Front {
 public:
  Front(const FrontOptions& options, LoopHooks& hooks);
  // close() first.
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  Status status() const { return completions_.status(); }
  // Becomes readable when on_completions() is to be called.
  int fd() const { return completions_.fd(); }

  // Requests that come from now on find these versions; what is under way goes on with the version
  // that it found, which lives as long.
  void set_model(std::string name, ServedVersions versions);
  // Requests for it find no model from now on, likewise.
  void remove_model(const std::string& name);
  // Whether requests for a model of that name are the other protocol's.
  bool is_python_model(std::string_view name) const;

  // Whole header lines that every answer gets: Date, Server.
  void set_common_fields(std::string lines) { common_fields_ = std::move(lines); }
  // From now on answers close their connections, unless requests wait behind them.
  void set_draining() { is_draining_ = true; }

  void on_completions();
  // Between the two, events are handled together: what they submit is seen to at the end.
  void begin_turn() { is_turn_end_due_ = true; }
  void end_turn();
  void on_timer();
  // `body` is empty when compression failed: the answer goes out as it was.
  void on_compressed(uint64_t job_number, std::string_view body);
  // Ends what takes too long, of a share of the connections; to be called ten times a second.
  void sweep();
  // Cancels what is under way and waits for the engine to let go of it. Connections must be lost
  // before, or are lost after.
  void close();

  FrontStats stats() const;
  size_t connection_count() const { return connections_.size(); }
  const FrontOptions& options() const { return options_; }
  // The engine's queue of one loop, for others that submit on it.
  Nanos now() const { return clock_.now(); }

 private:
  friend class Connection;

  // What a Connection asks.
  // Reads the clock; event_time() is what it said last, which is new enough for most.
  Nanos begin_event() { return now_ = clock_.now(); }
  Nanos event_time() const { return now_; }
  void after_event(Connection& connection);
  bool add_connection(Connection& connection);
  void remove_connection(Connection& connection);
  int pipelined_max() const;
  Job& new_job(Connection& connection);
  // What is known to be wrong with a job before its body has come.
  ProblemPtr check_head(Job& job);
  // The body is complete.
  void start(Job& job);
  void refuse(Job& job, ProblemPtr problem);
  // Its answer was written, or nobody is there to read it.
  void release(Job& job);
  void abandon(Job& job);
  void append_reply_head(const Job& job, bool closes, std::string& out);
  void count_body_bytes(int64_t count) {
    body_bytes_.store(body_bytes_.load(std::memory_order_relaxed) + count,
                      std::memory_order_relaxed);
  }
  // The job has so many bytes of bodies, now.
  void hold(Job& job, int64_t bytes);
  bool has_room_for(int64_t bytes) const;
  std::string& outgoing() { return outgoing_; }
  void log_client_gone(const Job& job);

  void recycle_if_unused(Job& job);
  bool is_heavy(const Job& job) const;
  void prepared(Job& job);
  void run(Job& job, Nanos now);
  void count_problem(const Job& job, ProblemKind kind);
  ProblemPtr pass_gates(Job& job, Nanos now);
  // Not nullptr: there is no room for its outputs.
  ProblemPtr cut_into_pieces(Job& job);
  Status submit_pieces(Job& job, Nanos now);
  void piece_done(Job& job, const Completion& completion);
  void finish_run(Job& job);
  void encode(Job& job);
  void encoded(Job& job);
  void make_ready(Job& job);
  void make_dirty(Connection& connection);
  void flush_dirty();
  void leave_gates(Job& job, RequestEnd end, Nanos now);
  void cancel_pieces(Job& job);
  void offload(Job& job, OffloadKind kind);
  void call_at_turn_end_if_due();
  void run_or_wake();
  void handle_drained();
  std::string_view make_request_id(const Job& job);

  const FrontOptions options_;
  LoopHooks& hooks_;
  const Clock& clock_;
  CompletionQueue completions_;
  Offload offload_;
  std::shared_ptr<const ModelTable> models_;
  PrepareMemory memory_;

  std::vector<Connection*> connections_;
  size_t swept_ = 0;
  std::vector<Connection*> dirty_;
  std::vector<Completion> drained_;

  std::vector<std::unique_ptr<Job>> jobs_;
  Job* free_jobs_ = nullptr;
  uint64_t job_number_ = 0;
  std::unordered_map<uint64_t, Job*> compressing_;
  DeadlineHeap deadlines_;

  std::string common_fields_;
  std::string outgoing_;
  std::string more_fields_;
  std::string request_id_;
  Nanos now_ = 0;
  bool has_python_models_ = false;
  bool is_draining_ = false;
  bool is_closed_ = false;
  bool is_turn_end_due_ = false;
  std::vector<Engine*> to_wake_;
  int64_t in_flight_ = 0;  // pieces with engines
  const Nanos unix_offset_;
  const uint64_t random_state_;

  // Written by the loop's thread, relaxed; read by others.
  std::atomic<uint64_t> accepted_{0};
  std::atomic<uint64_t> answered_{0};
  std::atomic<uint64_t> forwarded_{0};
  std::atomic<uint64_t> refused_messages_{0};
  std::atomic<uint64_t> clients_gone_{0};
  std::atomic<int64_t> body_bytes_{0};
};

}  // namespace pelton
