#include "csrc/control/request_gate.h"

#include <string>
#include <vector>

#include "tests/native/control/requests.h"
#include "tests/native/test.h"

namespace pelton {
namespace {

using Kind = GateDecision::Kind;

// Does as told and writes down what it was asked.
class ScriptedGate final : public RequestGate {
 public:
  ScriptedGate(char name, std::string& log) : name_(name), log_(log) {}
  Kind answer = Kind::kAccept;

  GateDecision before(GateRequest& /*request*/, Nanos /*now*/) override {
    log_ += name_;
    GateDecision decision;
    decision.kind = answer;
    return decision;
  }
  void after(const GateRequest& /*request*/, RequestEnd end, Nanos /*now*/) override {
    log_ += static_cast<char>(name_ - 'a' + 'A');
    ends.push_back(end);
  }
  std::vector<RequestEnd> ends;

 private:
  const char name_;
  std::string& log_;
};

struct Chain {
  std::string log;
  ScriptedGate a{'a', log};
  ScriptedGate b{'b', log};
  ScriptedGate c{'c', log};
  RequestGate* gates[3] = {&a, &b, &c};
  GateChain chain{gates};
};

TEST(chain_asks_in_order_and_tells_in_reverse) {
  Chain gates;
  GateRequest request;
  const GateDecision decision = gates.chain.before(request, 1);
  EXPECT(decision.kind == Kind::kAccept);
  EXPECT_EQ(request.passed, 3);
  gates.chain.after(request, RequestEnd::kOk, 2);
  EXPECT_EQ(gates.log, "abcCBA");
  gates.chain.after(request, RequestEnd::kOk, 3);  // it is over: nobody is told twice
  EXPECT_EQ(gates.log, "abcCBA");
}

TEST(chain_tells_those_that_were_passed_of_a_later_refusal) {
  Chain gates;
  gates.c.answer = Kind::kReject;
  GateRequest request;
  const GateDecision decision = gates.chain.before(request, 1);
  EXPECT(decision.kind == Kind::kReject);
  EXPECT_EQ(decision.gate, 2);
  EXPECT_EQ(gates.log, "abcBA");
  EXPECT(gates.a.ends == std::vector{RequestEnd::kRejected});
  EXPECT_EQ(request.passed, 0);
  gates.chain.after(request, RequestEnd::kError, 2);
  EXPECT_EQ(gates.log, "abcBA");
}

TEST(chain_goes_on_behind_the_gate_that_decided_otherwise) {
  for (const Kind kind : {Kind::kAcceptRows, Kind::kAnswerNow, Kind::kWait, Kind::kReroute}) {
    Chain gates;
    gates.b.answer = kind;
    GateRequest request;
    EXPECT(gates.chain.before(request, 1).kind == kind);
    EXPECT_EQ(request.passed, 2);
    EXPECT(gates.chain.before(request, 1).kind == Kind::kAccept);
    EXPECT_EQ(gates.log, "abc");
    gates.chain.after(request, RequestEnd::kCancelled, 2);
    EXPECT_EQ(gates.log, "abcCBA");
  }
}

TEST(chain_of_no_gates_accepts) {
  GateRequest request;
  EXPECT(is_accepted(GateChain({}).before(request, 0)));
}

TEST(refusals_say_what_came_and_what_was_allowed) {
  Refusal refusal;
  refusal.kind = ProblemKind::kQueueFull;
  refusal.what = "the rows would be";
  refusal.limit_name = "queue_rows_max";
  refusal.came = 7;
  refusal.limit = 5;
  refusal.retry_after_ms = 30;
  ProblemPtr problem = refusal.problem();
  EXPECT(problem->kind == ProblemKind::kQueueFull);
  EXPECT_EQ(problem->message, "the rows would be 7, at most queue_rows_max = 5");
  EXPECT_EQ(problem->retry_after_ms.value_or(0), 30);
  EXPECT(!problem->expected.has_value());
  refusal.kind = ProblemKind::kPayloadTooLarge;
  refusal.retry_after_ms = 0;
  problem = refusal.problem();
  EXPECT_EQ(problem->expected.value_or(""), "at most 5");
  EXPECT_EQ(problem->got.value_or(""), "7");
  EXPECT(!problem->retry_after_ms.has_value());
  refusal.limit_name = nullptr;
  EXPECT_EQ(refusal.problem()->message, "the rows would be");
}

TEST(requests_sum_what_their_batches_took) {
  GateRequest request;
  request.ran({.queued = 10, .started = 15, .ended = 40, .rows = 3, .tokens = 30});
  request.ran({.queued = 20, .started = 50, .ended = 60, .rows = 2, .tokens = 9});
  EXPECT_EQ(request.queue_ns, 35);
  EXPECT_EQ(request.run_ns, 35);
  EXPECT_EQ(request.batch_ns, 10);
  EXPECT_EQ(request.batch_rows, 2);
  EXPECT_EQ(request.batch_tokens, 9);
}

}  // namespace
}  // namespace pelton
