// Failures of the engine as problems of a request, and what a problem adds to an answer's head.
#pragma once

#include <string>

#include "csrc/base/problem.h"
#include "csrc/base/status.h"
#include "csrc/control/request_gate.h"
#include "csrc/front/served_model.h"

namespace pelton {

// REQUIRES: the status is not ok.
ProblemPtr problem_of(const Status& status, const ServedModel& model);
RequestEnd end_of(ProblemKind kind);
ProblemPtr no_room_for_body();
// Header lines that belong to a kind: what is accepted instead.
void append_problem_fields(const Problem& problem, std::string& out);

}  // namespace pelton
