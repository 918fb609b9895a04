// Inputs of a text encoder: texts, or token ids with an optional mask and token types. The oracle
// is pyserver/pelton/backends/_encoder.py with its _ragged.py and text/tokenizer.py.
#pragma once

#include <span>
#include <string_view>

#include "csrc/front/model_contract.h"

namespace pelton {

// What texts are: strings, whose characters their errors count, or bytes that may not be UTF-8.
enum class TextForm : uint8_t { kString, kBytes };

// The input `text`, or padded ids. REQUIRES: check_tensors passed.
ProblemPtr bind_encoder(const ModelContract& contract, const InferRequest& request,
                        BoundRequest& bound);

// Checks all texts, then tokenizes them. REQUIRES: a tokenizer; kString: `texts` are UTF-8.
ProblemPtr bind_text_rows(const EncoderContract& encoder, std::span<const std::string_view> texts,
                          TextForm form, std::optional<bool> truncate, BoundRequest& bound);

// Sets the totals, and the inputs in the plan's order, from lengths, ids and types. Types that are
// all 0 are what a plan without that input computes, so they are left out there; a plan with it
// always gets some.
void pack_tokens(const EncoderContract& encoder, BoundRequest& bound);

// Ids without padding.
ProblemPtr bind_id_rows(const EncoderContract& encoder, std::span<const int32_t> ids,
                        std::span<const int32_t> lengths, BoundRequest& bound);

}  // namespace pelton
