// Answers of the Open Inference Protocol: a JSON head, raw outputs behind it.
#pragma once

#include <string>

#include "csrc/base/infer_request.h"
#include "csrc/base/problem.h"
#include "csrc/wire/infer_codec.h"

namespace pelton {

// See encode_infer(). REQUIRES: the format is not msgpack.
ProblemPtr encode_oip_answer(const InferAnswer& answer, const AnswerFormat& format,
                             std::string& out, EncodedHead& head);

}  // namespace pelton
