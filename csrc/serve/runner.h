// Runner: what the batcher calls to execute one batch. The batcher knows nothing else about a
// model.
#pragma once

#include "csrc/base/batch_view.h"
#include "csrc/base/clock.h"
#include "csrc/base/status.h"

namespace pelton {

class Runner {
 public:
  virtual ~Runner() = default;
  // Whether run() may take this request: to be asked before it is submitted. Thread-safe, also
  // while a batch runs.
  virtual Status check(const RequestView&) const { return Status(); }
  // Runs the batch and fills every wanted output of every request. Called on an engine thread, one
  // batch at a time. A failed status fails every request of the batch. `deadline`: the latest of
  // the requests' deadlines.
  virtual Status run(const BatchView& batch, Nanos deadline) = 0;
};

}  // namespace pelton
