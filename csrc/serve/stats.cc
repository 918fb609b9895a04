#include "csrc/serve/stats.h"

namespace pelton {

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::kOk:
      return "ok";
    case Outcome::kError:
      return "error";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kExpired:
      return "expired";
    case Outcome::kRejected:
      return "rejected";
  }
  return {};
}

}  // namespace pelton
