// Runner: what the batcher calls to execute one batch. The batcher knows nothing else about a
// model.
#pragma once

#include "csrc/base/batch_view.h"
#include "csrc/base/clock.h"
#include "csrc/base/status.h"
#include "csrc/concurrency/run_site.h"

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

  // For runners that use the team: how many threads a batch of this size is worth. Thread-safe.
  virtual int threads_wanted(int64_t /*row_count*/, int64_t /*token_count*/) const { return 1; }
  // What the engine calls: run() at a place of the team that is this batch's alone while it runs.
  // A runner that takes long calls the site's hook now and then.
  virtual Status run_at(const BatchView& batch, Nanos deadline, const RunSite& /*site*/) {
    return run(batch, deadline);
  }
};

}  // namespace pelton
