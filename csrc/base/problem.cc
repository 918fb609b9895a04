#include "csrc/base/problem.h"

#include <array>

#include "csrc/base/check.h"

namespace pelton {
namespace {

constexpr std::array<ProblemStatus, static_cast<size_t>(ProblemKind::kLast) + 1> kRows = {{
    {},
    {400, "invalid_input", "Invalid input"},
    {404, "model_not_found", "Model not found"},
    {404, "route_not_found", "Not Found"},
    {405, "method_not_allowed", "Method Not Allowed"},
    {406, "not_acceptable", "Not Acceptable"},
    {408, "request_timeout", "Request not received in time"},
    {413, "payload_too_large", "Payload too large"},
    {414, "uri_too_long", "URI too long"},
    {431, "headers_too_large", "Request header fields too large"},
    {417, "expectation_failed", "Expectation failed"},
    {415, "unsupported_media_type", "Unsupported media type"},
    {499, "cancelled", "Cancelled by the caller"},
    {500, "internal", "Internal error"},
    {501, "not_implemented", "Not implemented"},
    {503, "queue_full", "Queue full"},
    {503, "out_of_memory", "Out of memory"},
    {503, "unavailable", "Unavailable"},
    {504, "deadline_exceeded", "Deadline exceeded"},
}};

}  // namespace

const ProblemStatus& problem_status(ProblemKind kind) {
  const auto index = static_cast<size_t>(kind);
  PELTON_CHECK(index >= 1 && index < kRows.size());
  return kRows[index];
}

}  // namespace pelton
