#include "csrc/control/limits_gate.h"

namespace pelton {
namespace {

Refusal over(const char* what, int64_t came, const char* limit_name, int64_t limit) {
  Refusal refusal;
  refusal.kind = ProblemKind::kPayloadTooLarge;
  refusal.what = what;
  refusal.limit_name = limit_name;
  refusal.came = came;
  refusal.limit = limit;
  return refusal;
}

}  // namespace

GateDecision LimitsGate::before(GateRequest& request, Nanos /*now*/) {
  if (request.body_bytes > options_.body_bytes_max) {
    return GateDecision::reject(over("the bytes of the body are", request.body_bytes,
                                     "body_bytes_max", options_.body_bytes_max));
  }
  if (request.row_count > options_.rows_max) {
    return GateDecision::reject(
        over("the rows of the request are", request.row_count, "rows_max", options_.rows_max));
  }
  return GateDecision::accept();
}

void LimitsGate::after(const GateRequest& /*request*/, RequestEnd /*end*/, Nanos /*now*/) {}

}  // namespace pelton
