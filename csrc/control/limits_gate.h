// LimitsGate: what one request may bring.
#pragma once

#include <limits>

#include "csrc/control/request_gate.h"

namespace pelton {

// Refuses with kPayloadTooLarge. Has no state: before() and after() from any thread.
class LimitsGate final : public RequestGate {
 public:
  struct Options {
    int64_t body_bytes_max = int64_t{64} << 20;
    int64_t rows_max = std::numeric_limits<int64_t>::max();  // of one request
  };
  explicit LimitsGate(const Options& options) : options_(options) {}

  GateDecision before(GateRequest& request, Nanos now) override;
  void after(const GateRequest& request, RequestEnd end, Nanos now) override;

 private:
  const Options options_;
};

}  // namespace pelton
