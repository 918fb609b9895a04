// Tensors as raw bytes, and what shapes say about them: shared by every format. The oracle is
// pyserver/pelton/codec/_raw.py.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "csrc/base/problem.h"
#include "csrc/base/scratch.h"
#include "csrc/base/tensor.h"
#include "csrc/wire/limits.h"
#include "csrc/wire/where.h"

namespace pelton {

// "[2, 3]", as Python prints a list.
std::string shape_as_list(std::span<const int64_t> dims);
std::string shape_as_list(std::span<const uint64_t> dims);

// Checks dimensions (each 0 or more) and their product against the limits: the product of those
// that are not 0, since whoever multiplies strides multiplies these. `dims` has at most
// limits.rank_max. `count` becomes the number of elements.
ProblemPtr make_shape(std::span<const uint64_t> dims, const Where& where,
                      const DecodeLimits& limits, Shape& shape, int64_t& count);

// Makes `raw`, which lies at `offset` of the body, the data of `tensor`, whose dtype and shape of
// `count` elements are set; kInvalidInput unless it holds exactly them. Views of the elements of
// BYTES are put into `scratch`.
ProblemPtr view_raw(std::span<const std::byte> raw, int64_t count, const Where& where,
                    int64_t offset, Scratch& scratch, TensorView& tensor);

// The shape of `count` elements that came without one, for an input like `spec`: a free first
// dimension is a batch of 1; at most one other free dimension follows from the count.
// REQUIRES: spec.shape has at most kRankMax dimensions.
ProblemPtr deduce_shape(const TensorSpec& spec, int64_t count, const Where& where, Shape& shape);

// The input that a tensor without a name is for, in spec; `what` names the form that left it out.
ProblemPtr only_input(std::span<const TensorSpec> specs, std::string_view what,
                      const TensorSpec*& spec);

}  // namespace pelton
