// Job: one request on its way through the native path, from its head to its answer. Internal to
// csrc/front.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "csrc/base/batch_view.h"
#include "csrc/control/request_gate.h"
#include "csrc/front/byte_buffer.h"
#include "csrc/front/served_model.h"
#include "csrc/wire/embeddings_codec.h"
#include "csrc/wire/http_head.h"
#include "csrc/wire/infer_codec.h"

namespace pelton {

class Connection;

// A head without the lines of one field; `name` is in lower case and ends with the colon.
std::string without_field(std::string_view head, std::string_view name);

enum class JobState : uint8_t {
  kReading,      // its body comes
  kPreparing,    // decoded and bound, perhaps on the offload thread
  kRunning,      // with the engine
  kEncoding,     // its answer is written, perhaps on the offload thread
  kCompressing,  // its answer is with the loop's compressor
  kForwarding,   // waits to be handed to the other protocol, or is with it
  kReady,        // its answer waits for its turn
};

// A part of a request that fits into a batch.
struct Piece {
  RequestView view;
  Ticket ticket = 0;
  bool is_out = false;  // with the engine
  std::vector<const std::byte*> inputs;
  std::vector<std::byte*> outputs;
};

// Bytes on a cache line's border, used again.
class OutputBuffer {
 public:
  std::byte* reserve(size_t bytes);
  void clear();

 private:
  static constexpr size_t kKeptBytesMax = size_t{64} << 10;
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t capacity_ = 0;
};

// Owned by the Front's pool. In use while it is in its connection's queue or engaged.
struct Job {
  uint64_t number = 0;  // of this use; never given twice
  JobState state = JobState::kReading;
  Connection* connection = nullptr;  // nullptr: the client is gone
  Job* next = nullptr;               // in the connection's queue, or in the pool
  bool is_in_queue = false;
  int engaged = 0;  // who else will come back to it: pieces, the offload thread, the compressor

  // What came. The head's views point into head_text.
  RouteKind route = RouteKind::kInfer;
  std::string head_text;
  HttpHead head;
  std::string decoded_names;  // what model_name and version point into
  std::string_view model_name;
  std::string_view version;
  ByteBuffer body;
  int64_t held_bytes = 0;  // as the Front counts it: body, outputs, answer
  Nanos arrival = 0;
  Nanos complete = 0;  // its last byte
  Nanos decode_ns = 0;
  Nanos ran = 0;  // its last piece was over
  Nanos deadline = kNoDeadline;
  bool closes = false;        // the connection is closed behind its answer
  bool is_continued = false;  // its client was sent 100 Continue

  // What it means.
  std::shared_ptr<ServedModel> model;
  AnswerFormat answer_format;
  InferRequest infer;
  EmbeddingsRequest embeddings;
  BoundRequest bound;
  bool is_for_python = false;

  // How it runs.
  GateRequest gate;
  bool is_past_gates = false;
  std::vector<Piece> pieces;  // the first piece_count
  size_t piece_count = 0;
  size_t next_piece = 0;
  size_t oldest_piece = 0;  // none before it is out: few are at a time, of maybe very many
  OutputBuffer outputs;
  std::vector<std::byte*> output_begins;  // one per output of the model; nullptr: not wanted

  // How it ends.
  ProblemPtr problem;
  int status = 200;
  std::string_view coding;  // of reply_body; empty: none
  std::string reply_head;   // header lines of this answer
  std::string reply_body;
  EncodedHead encoded;

  void take_head(const HttpHead& parsed, std::string_view raw, const Route& its_route);
  // Fit to be echoed and logged; empty: there is none.
  std::string_view request_id() const;
  // The message as it came, for the other protocol; its body, which is here, in one chunk where it
  // came in chunks.
  std::string message_for_forwarding() const;
  // For its next use; keeps memory up to a bound.
  void clear();
  // Where they are large, what came and what the model made of it is let go: the answer is written.
  void drop_sources();
};

}  // namespace pelton
