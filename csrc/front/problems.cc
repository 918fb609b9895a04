#include "csrc/front/problems.h"

#include "csrc/front/bind_problems.h"
#include "csrc/wire/python_text.h"

namespace pelton {
namespace {

ProblemKind kind_of(StatusCode code) {
  switch (code) {
    case StatusCode::kInvalidArgument:
      return ProblemKind::kInvalidInput;
    case StatusCode::kQueueFull:
      return ProblemKind::kQueueFull;
    case StatusCode::kDeadlineExceeded:
      return ProblemKind::kDeadlineExceeded;
    case StatusCode::kCancelled:
      return ProblemKind::kCancelled;
    case StatusCode::kNotFound:  // unloaded while requests still found it
    case StatusCode::kUnavailable:
      return ProblemKind::kUnavailable;
    case StatusCode::kOutOfMemory:
      return ProblemKind::kOutOfMemory;
    default:
      return ProblemKind::kInternal;
  }
}

}  // namespace

ProblemPtr problem_of(const Status& status, const ServedModel& model) {
  const ProblemKind kind = kind_of(status.code());
  if (kind != ProblemKind::kUnavailable) return make_problem(kind, std::string(status.message()));
  const std::string& name = model.contract().name;
  auto problem = make_problem(kind, "model " + python_repr(name) + " is not ready");
  problem->model = name;
  return problem;
}

RequestEnd end_of(ProblemKind kind) {
  switch (kind) {
    case ProblemKind::kDeadlineExceeded:
      return RequestEnd::kExpired;
    case ProblemKind::kCancelled:
      return RequestEnd::kCancelled;
    case ProblemKind::kQueueFull:
    case ProblemKind::kUnavailable:
      return RequestEnd::kRejected;
    default:
      return RequestEnd::kError;
  }
}

ProblemPtr no_room_for_body() {
  return make_problem(ProblemKind::kUnavailable,
                      "the bodies of other requests take all the memory there is for them");
}

void append_problem_fields(const Problem& problem, std::string& out) {
  if (!problem.expected) return;
  if (problem.kind == ProblemKind::kMethodNotAllowed) {
    out += "allow: ";
  } else if (problem.kind == ProblemKind::kUnsupportedMediaType) {
    out += problem.field == "Content-Encoding" ? "accept-encoding: " : "accept-post: ";
  } else {
    return;
  }
  out += *problem.expected;
  out += "\r\n";
}

}  // namespace pelton
