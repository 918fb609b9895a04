// Offload: one thread for bodies and answers that would hold the event loop up: long JSON, long
// texts.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "csrc/front/prepare.h"
#include "csrc/serve/completion.h"

namespace pelton {

enum class OffloadKind : uint8_t { kPrepare, kEncode };

// submit() and close() on the loop's thread. The thread starts with the first job.
class Offload {
 public:
  static constexpr size_t kWaitingMax = 256;

  // Finished jobs come back through `completions`, with the job as `user` and ticket 0.
  explicit Offload(CompletionQueue& completions) : completions_(completions) {}
  ~Offload() { close(); }

  struct Task {
    Job* job = nullptr;
    OffloadKind kind = OffloadKind::kPrepare;
    std::shared_ptr<const ModelTable> models;
    const DecodeLimits* limits = nullptr;
    Nanos deadline_default = 0;
  };
  // False: too many wait, or the completion queue has no room.
  bool submit(Task task);
  // Ends the thread when what waits is done.
  void close();

 private:
  void work();

  CompletionQueue& completions_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Task> waiting_;  // guarded by mutex_
  bool is_closing_ = false;   // guarded by mutex_
  std::thread thread_;
};

}  // namespace pelton
