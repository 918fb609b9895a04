#include "csrc/control/model_counters.h"

namespace pelton {

ModelCountersSnapshot ModelCounters::snapshot() const {
  ModelCountersSnapshot result;
  result.ok = sum(kOk);
  uint64_t failed = 0;
  for (size_t kind = 0; kind < kProblemKindCount; ++kind) {
    result.problems[kind] = problems_[kind].load();
    failed += result.problems[kind];
  }
  result.decode_ns = decode_ns_.snapshot();
  result.encode_ns = encode_ns_.snapshot();
  result.bytes_in = sum(kBytesIn);
  result.bytes_out = sum(kBytesOut);
  result.success = {result.ok, sum(kSuccessNs)};
  result.fail = {failed, sum(kFailNs)};
  result.queue = {result.ok, sum(kQueueNs)};
  result.compute_input = {result.ok, sum(kInputNs)};
  result.compute_infer = {result.ok, sum(kInferNs)};
  result.compute_output = {result.ok, sum(kOutputNs)};
  result.inference_count = sum(kRows);
  result.execution_count = sum(kExecutions);
  result.last_inference = last_inference_.load();
  return result;
}

}  // namespace pelton
