// Connection: the bytes of one client, from the socket to the socket. A state machine without a
// socket: bytes and events come in through its methods, bytes go out through its Transport.
//
// Messages are read one by one. Inference becomes jobs, of which kPipelinedMax may be under way;
// their answers leave in the order of the requests, one write for all that are ready. Every other
// legal message waits until the jobs before it are answered, then goes byte for byte to the other
// protocol, and no further message is read until that one is answered. So one parser has judged
// every byte, answers keep their order, and the two protocols never hold parts of the same message.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "csrc/base/clock.h"
#include "csrc/front/job.h"
#include "csrc/front/transport.h"
#include "csrc/wire/http_body.h"

namespace pelton {

class Front;

// Used on the loop's thread only. The owner calls opened() first and lost() last; the Front and the
// transport outlive it.
class Connection {
 public:
  static constexpr int kPipelinedMax = 64;

  Connection(Front& front, Transport& transport);
  // REQUIRES: lost() was called, or opened() was not.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void opened();
  void received(std::string_view bytes);
  // The peer will send no more. True: answers are due, keep the connection open for them.
  bool received_eof();
  void lost();
  void pause_writing();
  void resume_writing();

  // The other protocol has answered the message that it was handed. `is_closing`: and closes the
  // connection.
  void forwarded_answered(bool is_closing = false);
  // The other protocol wants no more bytes at the moment, or does again.
  void set_forward_paused(bool is_paused);

  // Closes the connection unless a request is on it, or a part of one.
  void drain();
  // Whether no request is on it, nor a part of one.
  bool is_idle() const;
  // Whether bytes came that wait for the messages before them.
  bool has_waiting() const { return !input_.empty(); }

  // Writes the answers that are ready, and reads on if they made room.
  void advance();
  // Ends what takes too long. Called a few times a second.
  void check_time(Nanos now);

 private:
  friend class Front;
  enum class Phase : uint8_t {
    kHead,         // between messages, or in a head
    kBody,         // in the body of a job
    kForwardBody,  // in the body of a message that goes to the other protocol
    kForwardWait,  // that message is complete, its answer is not
    kClosing,      // nothing more is read; the last answers are under way
    kLingering,    // all is written; what still comes is dropped, so that no reset overtakes it
    kClosed,
  };

  size_t parse(std::string_view bytes);
  void parse_input();
  bool may_parse() const;
  size_t parse_head(std::string_view bytes);
  bool take(const HttpHead& head, std::string_view raw);
  void take_job(const HttpHead& head, std::string_view raw, const Route& route, ProblemPtr problem);
  void begin_forward(const HttpHead& head, std::string_view raw);
  size_t read_job_body(std::string_view bytes);
  size_t read_forward_body(std::string_view bytes);
  void refuse(ProblemPtr problem);
  void refuse_forwarded(ProblemPtr problem);
  void end_forwarded();
  void check_body_pace(Nanos now);
  bool takes_its_answer(Nanos now);
  Job& last_job() { return *last_; }

  void enqueue(Job& job);
  void pop_job();
  void flush();
  bool forward_job(Job& job);
  void end();
  void linger();
  void drop_input(size_t count);
  void probe();
  void regulate_reading();
  void abort();

  Front& front_;
  Transport& transport_;
  std::string input_;   // what came and was not read yet
  size_t scanned_ = 0;  // of input_, by the parser of heads
  HttpBodyReader body_;
  Job* first_ = nullptr;  // the queue
  Job* last_ = nullptr;
  int queued_ = 0;
  uint32_t index_ = 0;  // in the Front's table
  uint32_t message_count_ = 0;
  Phase phase_ = Phase::kHead;
  bool is_open_ = false;
  bool is_eof_ = false;
  bool is_message_waiting_ = false;  // at the front of input_, for the jobs before it
  bool is_probed_ = false;
  bool is_writing_paused_ = false;
  bool is_reading_paused_ = false;
  bool is_forward_paused_ = false;
  bool is_forward_answered_ = false;  // before its body was complete
  bool is_job_forwarded_ = false;     // the first job is with the other protocol
  bool is_dirty_ = false;             // in the Front's list
  bool is_parsing_ = false;
  Nanos since_ = 0;         // when the present wait began: for a head, a body, or the next request
  int64_t body_bytes_ = 0;  // of the body that comes
  int64_t dropped_bytes_ = 0;
  int64_t held_bytes_ = 0;       // by its jobs
  int64_t forwarded_bytes_ = 0;  // of the body that the other protocol gathers
  size_t unsent_bytes_ = 0;
  Nanos write_paused_since_ = 0;
  Nanos eof_since_ = 0;
};

}  // namespace pelton
