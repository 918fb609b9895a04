#include "csrc/control/request_gate.h"

#include <string>
#include <utility>

namespace pelton {

ProblemPtr Refusal::problem() const {
  std::string text = what;
  if (limit_name != nullptr) {
    text += ' ' + std::to_string(came) + ", at most " + limit_name + " = " + std::to_string(limit);
  }
  ProblemPtr result = make_problem(kind, std::move(text));
  if (kind == ProblemKind::kPayloadTooLarge && limit_name != nullptr) {
    result->expected = "at most " + std::to_string(limit);
    result->got = std::to_string(came);
  }
  if (retry_after_ms > 0) result->retry_after_ms = retry_after_ms;
  return result;
}

GateDecision GateChain::before(GateRequest& request, Nanos now) const {
  while (request.passed < gates_.size()) {
    GateDecision decision = gates_[request.passed]->before(request, now);
    decision.gate = request.passed;
    if (decision.kind == GateDecision::Kind::kReject) {
      after(request, RequestEnd::kRejected, now);
      return decision;
    }
    ++request.passed;
    if (decision.kind != GateDecision::Kind::kAccept) return decision;
  }
  return GateDecision::accept();
}

void GateChain::after(GateRequest& request, RequestEnd end, Nanos now) const {
  while (request.passed > 0) gates_[--request.passed]->after(request, end, now);
}

}  // namespace pelton
