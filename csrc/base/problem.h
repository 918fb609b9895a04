// Problem: why a request was refused, with everything its answer says. The native twin of
// pyserver/pelton/errors.py: one kind per leaf that native code can raise, with the same statuses,
// slugs and titles (a test compares the two tables).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace pelton {

// Numbers cross the language border: never reuse one.
enum class ProblemKind : uint8_t {
  kInvalidInput = 1,
  kModelNotFound = 2,
  kRouteNotFound = 3,
  kMethodNotAllowed = 4,
  kNotAcceptable = 5,
  kRequestTimeout = 6,
  kPayloadTooLarge = 7,
  kUriTooLong = 8,
  kHeadersTooLarge = 9,
  kExpectationFailed = 10,
  kUnsupportedMediaType = 11,
  kCancelled = 12,
  kInternal = 13,
  kNotImplemented = 14,
  kQueueFull = 15,
  kOutOfMemory = 16,
  kUnavailable = 17,
  kDeadlineExceeded = 18,
  kLast = kDeadlineExceeded,
};

struct ProblemStatus {
  int http = 500;
  std::string_view code;  // the slug in urn:pelton:error:<code>
  std::string_view title;
};
// REQUIRES: a value of the enum.
const ProblemStatus& problem_status(ProblemKind kind);

// A value. Members that are nullopt are left out of the answer. `message` is one sentence and is
// shown to callers, but for kInternal.
struct Problem {
  ProblemKind kind = ProblemKind::kInternal;
  std::string message;
  std::optional<std::string> tensor;
  std::optional<std::string> field;
  std::optional<std::string> expected;
  std::optional<std::string> got;
  std::optional<int64_t> offset;
  std::optional<std::string> model;
  std::optional<std::string> version;
  std::optional<int64_t> retry_after_ms;
};

// nullptr is success: the path that succeeds allocates nothing.
using ProblemPtr = std::unique_ptr<Problem>;

inline ProblemPtr make_problem(ProblemKind kind, std::string message) {
  auto problem = std::make_unique<Problem>();
  problem->kind = kind;
  problem->message = std::move(message);
  return problem;
}

#define PELTON_RETURN_IF_PROBLEM(expression)                                         \
  do {                                                                               \
    if (::pelton::ProblemPtr problem_of_call = (expression)) return problem_of_call; \
  } while (false)

}  // namespace pelton
