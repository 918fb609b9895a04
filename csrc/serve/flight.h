// A batch from the moment it is picked until its requests are complete. Internal to csrc/serve.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "csrc/base/batch_view.h"
#include "csrc/base/clock.h"
#include "csrc/base/status.h"
#include "csrc/concurrency/run_site.h"
#include "csrc/serve/schedule.h"

namespace pelton {

struct ModelEntry;

// What a completion says of the batch that its request ran in.
struct Execution {
  Nanos started = 0;
  Nanos ended = 0;
  int64_t row_count = 0;
  int64_t token_count = 0;
};

// The worker's, but for what run() of a back flight does on the lane's thread: from post() to
// is_done that thread owns `execution` and `status`.
struct Flight {
  explicit Flight(size_t requests_max) {
    slots.reserve(requests_max);
    requests.reserve(requests_max);
  }
  bool is_idle() const { return entry == nullptr; }

  ModelEntry* entry = nullptr;  // nullptr: idle
  PendingRequest head;          // the most urgent request of the model when it was picked
  std::vector<uint32_t> slots;
  std::vector<const RequestView*> requests;
  BatchView batch;
  Nanos deadline = 0;  // the latest of the requests'
  RunSite site;
  bool is_long = false;
  bool yields = false;    // others may run inside it
  Nanos nested_ns = 0;    // that batches inside it took
  double charged_ns = 0;  // to its model's share, before it ran
  Execution execution;
  Status status;
  // Release by the lane's thread, acquire by the worker: what ran is over.
  std::atomic<bool> is_done{false};
};

}  // namespace pelton
