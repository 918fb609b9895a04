#include <utility>

#include "csrc/wire/http_head.h"
#include "csrc/wire/swar.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

constexpr std::string_view kModels = "/v2/models/";
constexpr std::string_view kVersions = "versions/";
constexpr std::string_view kInfer = "infer";
constexpr size_t kNameBytesMax = 255;

// Appends the decoded segment; false for a '%' without two digits.
bool append_decoded(std::string_view segment, std::string& out) {
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      out += segment[i];
      continue;
    }
    if (segment.size() - i < 3) return false;
    const int high = hex_value(segment[i + 1]);
    const int low = hex_value(segment[i + 2]);
    if (high < 0 || low < 0) return false;
    out += static_cast<char>(high << 4 | low);
    i += 2;
  }
  return true;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const CodePoint point = read_code_point(text);
    if (!point.is_valid) return false;
    text.remove_prefix(point.bytes);
  }
  return true;
}

bool is_name(std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax || name == "." || name == "..") return false;
  for (const char c : name) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte < 0x20 || byte == 0x7f || c == '/' || c == '\\') return false;
  }
  return is_utf8(name);
}

// The segment as it came: what a name that cannot be decoded or printed is shown as.
std::string shown_name(std::string_view segment) {
  return segment.size() <= kNameBytesMax ? std::string(segment)
                                         : std::string(segment.substr(0, 64)) + "…";
}

ProblemPtr no_model(std::string_view model) {
  std::string name = shown_name(model);
  ProblemPtr problem =
      make_problem(ProblemKind::kModelNotFound, "there is no model '" + name + "'");
  problem->model = std::move(name);
  return problem;
}

ProblemPtr no_version(std::string_view model, std::string_view version) {
  std::string of_model = shown_name(model);
  std::string name(version.substr(0, 64));
  ProblemPtr problem = make_problem(ProblemKind::kModelNotFound,
                                    "model '" + of_model + "' has no version '" + name + "'");
  problem->model = std::move(of_model);
  problem->version = std::move(name);
  return problem;
}

// The segments of the names, as they came; false where the path is not that of an inference.
bool split_infer_path(std::string_view path, std::string_view& model, std::string_view& version) {
  if (!path.starts_with(kModels)) return false;
  path.remove_prefix(kModels.size());
  size_t end = path.find('/');
  if (end == 0 || end == std::string_view::npos) return false;
  model = path.substr(0, end);
  path.remove_prefix(end + 1);
  if (path.starts_with(kVersions)) {
    path.remove_prefix(kVersions.size());
    end = path.find('/');
    if (end == 0 || end == std::string_view::npos) return false;
    version = path.substr(0, end);
    path.remove_prefix(end + 1);
  }
  return path == kInfer;
}

}  // namespace

ProblemPtr match_route(const HttpHead& head, std::string& decoded, Route& route) {
  route = Route();
  if (head.method != HttpMethod::kPost || head.has_query) return nullptr;
  if (head.path == "/v1/embeddings") {
    route.kind = RouteKind::kEmbeddings;
    return nullptr;
  }
  std::string_view model;
  std::string_view version;
  if (!split_infer_path(head.path, model, version)) return nullptr;
  route.kind = RouteKind::kInfer;
  route.model = model;
  route.version = version;
  if (head.path.find('%') != std::string_view::npos) {
    decoded.clear();
    if (!append_decoded(model, decoded)) return no_model(model);
    const size_t model_bytes = decoded.size();
    if (!append_decoded(version, decoded)) return no_version(model, version);
    // Only now: appending may have moved the string.
    route.model = std::string_view(decoded).substr(0, model_bytes);
    route.version = std::string_view(decoded).substr(model_bytes);
  }
  if (!is_name(route.model)) return no_model(model);
  if (!version.empty() && !is_name(route.version)) return no_version(model, version);
  return nullptr;
}

}  // namespace pelton
