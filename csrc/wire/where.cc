#include "csrc/wire/where.h"

#include <utility>

#include "csrc/wire/python_text.h"

namespace pelton {

void Where::append_field(std::string& out) const {
  if (parent_ != nullptr) parent_->append_field(out);
  if (step_ == Step::kMember) {
    if (!out.empty()) out += '.';
    out += member_;
  } else if (step_ == Step::kItem) {
    out += '[' + std::to_string(index_) + ']';
  }
}

std::string Where::field() const {
  std::string path;
  append_field(path);
  return path;
}

std::optional<std::string_view> Where::tensor() const {
  const Where* where = this;
  while (!where->tensor_ && where->parent_ != nullptr) where = where->parent_;
  return where->tensor_;
}

ProblemPtr Where::problem(std::string_view text) const {
  std::string path = field();
  std::string message = path.empty() ? "the body" : path;
  const std::optional<std::string_view> name = tensor();
  if (name) message += " (tensor " + python_repr(*name) + ")";
  message += ": ";
  message += text;
  ProblemPtr problem = make_problem(ProblemKind::kInvalidInput, std::move(message));
  if (!path.empty()) problem->field = std::move(path);
  if (name) problem->tensor = *name;
  return problem;
}

ProblemPtr Where::bad(std::string_view expected, std::string_view got,
                      std::optional<int64_t> offset) const {
  std::string text = "expected ";
  text += expected;
  text += ", got ";
  text += got;
  if (offset) text += ", at byte " + std::to_string(*offset);
  ProblemPtr result = problem(text);
  result->expected = expected;
  result->got = got;
  result->offset = offset;
  return result;
}

ProblemPtr Where::refused(std::string_view reason) const { return problem(reason); }

}  // namespace pelton
