// An executor that checks nothing that Plan::open() promises: it touches every element that an
// instruction's shapes say is there, in buffers of exactly the size that the tensors' dims say.
// It computes nothing useful; it stops the process when a promise is broken. For tests.
#pragma once

#include "csrc/plan/plan.h"

namespace pelton::plan_test {

// Runs one batch of two rows (three tokens and one token). Plans whose tensors would take more
// than a few megabytes are skipped.
void execute_trusting(const Plan& plan);

}  // namespace pelton::plan_test
