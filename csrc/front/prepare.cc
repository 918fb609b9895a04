#include "csrc/front/prepare.h"

#include <algorithm>
#include <charconv>
#include <string>

#include "csrc/front/bind_problems.h"
#include "csrc/wire/embeddings_codec.h"
#include "csrc/wire/python_text.h"
#include "csrc/wire/utf8.h"

namespace pelton {
namespace {

constexpr int64_t kDeadlineMsMax = 86'400'000;
constexpr size_t kNameBytesMax = 255;

// The earliest of the request's `timeout`, its header Pelton-Deadline-Ms, and, where it gives
// neither, the server's default.
ProblemPtr read_deadline(Job& job, int64_t timeout_us, Nanos deadline_default) {
  Nanos wait = kNoDeadline;
  const auto shorten = [&wait](int64_t count, int64_t unit_ns) {
    wait = std::min(wait, count > kNoDeadline / unit_ns ? kNoDeadline : count * unit_ns);
  };
  if (timeout_us > 0) shorten(timeout_us, 1000);
  if (job.head.deadline_ms) {
    const std::string_view text = *job.head.deadline_ms;
    int64_t milliseconds = 0;
    std::from_chars(text.data(), text.data() + text.size(), milliseconds);
    const bool is_number =
        !text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == text.npos;
    if (!is_number || milliseconds < 1 || milliseconds > kDeadlineMsMax) {
      const std::string expected = "an integer from 1 to " + std::to_string(kDeadlineMsMax);
      auto problem = make_problem(ProblemKind::kInvalidInput,
                                  "Pelton-Deadline-Ms: expected " + expected + ", got " +
                                      python_repr(latin1_to_utf8(text.substr(0, 40))));
      problem->field = "Pelton-Deadline-Ms";
      problem->expected = expected;
      problem->got = latin1_to_utf8(text.substr(0, 40));
      return problem;
    }
    shorten(milliseconds, 1'000'000);
  }
  if (wait == kNoDeadline && deadline_default > 0) wait = deadline_default;
  job.deadline = wait > kNoDeadline - job.arrival ? kNoDeadline : job.arrival + wait;
  return nullptr;
}

ProblemPtr prepare_infer(Job& job, const PrepareContext& context, PrepareMemory& memory) {
  const ModelContract& contract = job.model->contract();
  const FormatFields fields{job.head.content_type, job.head.accept,
                            job.head.inference_header_content_length};
  InferRequest& request = job.infer;
  PELTON_RETURN_IF_PROBLEM(decode_infer(fields, job.body.bytes(), context.limits, contract.inputs,
                                        memory.decode, request));
  const bool has_texts =
      std::any_of(request.inputs.begin(), request.inputs.end(),
                  [](const TensorView& input) { return input.dtype == DType::kBytes; });
  job.is_for_python = request.is_for_python || (has_texts && !job.model->takes_texts_here());
  if (job.is_for_python) return nullptr;
  PELTON_RETURN_IF_PROBLEM(read_deadline(job, request.timeout_us, context.deadline_default));
  return bind_infer(contract, request, job.bound);
}

ProblemPtr invalid_field(std::string_view field, std::string message) {
  auto problem = make_problem(ProblemKind::kInvalidInput, std::move(message));
  problem->field = std::string(field);
  return problem;
}

ProblemPtr check_dimensions(const Job& job) {
  if (!job.embeddings.dimensions) return nullptr;
  const ServedModel& model = *job.model;
  const TensorSpec& output =
      model.contract().outputs[static_cast<size_t>(model.embedding_output())];
  const int64_t hidden = output.shape.back();
  if (*job.embeddings.dimensions == hidden) return nullptr;
  const std::string expected = std::to_string(hidden);
  const std::string got = std::to_string(*job.embeddings.dimensions);
  auto problem = invalid_field(
      "dimensions", "dimensions: expected " + expected + ", the model's own, got " + got);
  problem->expected = expected;
  problem->got = got;
  return problem;
}

ProblemPtr prepare_embeddings(Job& job, const PrepareContext& context, PrepareMemory& memory) {
  EmbeddingsRequest& request = job.embeddings;
  PELTON_RETURN_IF_PROBLEM(decode_embeddings(job.head.content_type, job.body.bytes(),
                                             context.limits, memory.decode.json, request));
  PELTON_RETURN_IF_PROBLEM(find_model(context.models, request.model, {}, job.model));
  job.is_for_python = job.model == nullptr;
  if (job.is_for_python) return nullptr;
  ServedModel& model = *job.model;
  if (!model.is_text_encoder()) {
    auto problem = invalid_field(
        "model", "model " + python_repr(request.model) + " makes no embeddings of texts");
    problem->model = std::string(request.model);
    return problem;
  }
  PELTON_RETURN_IF_PROBLEM(check_dimensions(job));
  job.is_for_python = !request.texts.empty() && !model.takes_texts_here();
  if (job.is_for_python) return nullptr;
  PELTON_RETURN_IF_PROBLEM(read_deadline(job, 0, context.deadline_default));
  PELTON_RETURN_IF_PROBLEM(
      request.texts.empty()
          ? bind_ids(model.contract(), request.ids, request.lengths, job.bound)
          : bind_texts(model.contract(), request.texts, request.truncate, job.bound));
  return nullptr;
}

TensorView output_view(const Job& job, int output) {
  const TensorSpec& spec = job.model->contract().outputs[static_cast<size_t>(output)];
  TensorView view;
  view.name = spec.name;
  view.dtype = spec.dtype;
  view.shape.append(job.bound.row_count);
  for (size_t axis = 1; axis < spec.shape.size(); ++axis) view.shape.append(spec.shape[axis]);
  const int64_t bytes = job.bound.row_count * job.model->output_row_bytes(output);
  view.data = {job.output_begins[static_cast<size_t>(output)], static_cast<size_t>(bytes)};
  return view;
}

}  // namespace

ProblemPtr find_model(const ModelTable& models, std::string_view name, std::string_view version,
                      std::shared_ptr<ServedModel>& model) {
  const auto found = models.find(name);
  if (found == models.end()) {
    const std::string shown =
        name.size() <= kNameBytesMax ? std::string(name) : std::string(name.substr(0, 64)) + "…";
    auto problem =
        make_problem(ProblemKind::kModelNotFound, "there is no model " + python_repr(shown));
    problem->model = shown;
    return problem;
  }
  const ServedVersions& versions = found->second;
  if (versions.empty()) return nullptr;
  for (const std::shared_ptr<ServedModel>& served : versions) {
    if (!version.empty() && version != served->contract().version) continue;
    model = served;
    return nullptr;
  }
  std::string message = "model " + python_repr(name) + " has no version " +
                        python_repr(version.substr(0, 64)) +
                        (versions.size() == 1 ? "; its version is " : "; its versions are ");
  for (const std::shared_ptr<ServedModel>& served : versions) {
    if (served != versions.front()) message += ", ";
    message += served->contract().version;
  }
  auto problem = make_problem(ProblemKind::kModelNotFound, std::move(message));
  problem->model = std::string(name);
  problem->version = std::string(version.substr(0, 64));
  return problem;
}

void prepare(Job& job, const PrepareContext& context, PrepareMemory& memory) {
  job.problem = job.route == RouteKind::kInfer ? prepare_infer(job, context, memory)
                                               : prepare_embeddings(job, context, memory);
  memory.decode.json.clear();
}

void encode_answer(Job& job, PrepareMemory& memory) {
  const ModelContract& contract = job.model->contract();
  if (job.route == RouteKind::kEmbeddings) {
    const TensorView vectors = output_view(job, job.bound.outputs.front());
    const std::span<const float> floats(reinterpret_cast<const float*>(vectors.data.data()),
                                        vectors.data.size() / sizeof(float));
    encode_embeddings(floats, job.bound.row_count, job.embeddings.model, job.bound.token_count,
                      job.embeddings.base64, job.reply_body);
    job.encoded.content_type = "application/json";
    return;
  }
  memory.answer.clear();
  for (size_t i = 0; i < job.bound.outputs.size(); ++i) {
    const bool binary =
        job.infer.outputs.empty() ? job.infer.binary_output_default : job.infer.outputs[i].binary;
    memory.answer.push_back({output_view(job, job.bound.outputs[i]), binary});
  }
  const InferAnswer answer{.model_name = job.model_name,
                           .model_version = contract.version,
                           .id = job.infer.id,
                           .outputs = memory.answer,
                           .non_finite_null = job.infer.non_finite_null};
  job.problem = encode_infer(answer, job.answer_format, job.reply_body, job.encoded);
}

}  // namespace pelton
