#include "csrc/wire/body_checks.h"

#include <string>
#include <utility>

#include "csrc/wire/media_types.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/utf8.h"

namespace pelton {

ProblemPtr check_body_size(size_t size, const DecodeLimits& limits) {
  if (size <= static_cast<size_t>(limits.body_bytes_max)) return nullptr;
  const std::string limit = std::to_string(limits.body_bytes_max);
  ProblemPtr problem =
      make_problem(ProblemKind::kPayloadTooLarge,
                   "the body has " + std::to_string(size) + " bytes, the limit is " + limit);
  problem->expected = "at most " + limit + " bytes";
  problem->got = std::to_string(size) + " bytes";
  return problem;
}

ProblemPtr check_json_type(std::optional<std::string_view> content_type,
                           std::string_view expected) {
  if (is_json_type(content_type)) return nullptr;
  constexpr size_t kShownCharactersMax = 80;
  std::string got = latin1_to_utf8(content_type.value_or("").substr(0, kShownCharactersMax));
  ProblemPtr problem = make_problem(ProblemKind::kUnsupportedMediaType,
                                    "the body's type " + python_repr(got) +
                                        " is not read here, expected " + std::string(expected));
  problem->expected = expected;
  problem->got = std::move(got);
  return problem;
}

}  // namespace pelton
