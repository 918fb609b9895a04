#include "csrc/bindings/control_binding.h"

#include <cstdint>
#include <memory>
#include <string>

#include "csrc/bindings/histograms.h"
#include "csrc/bindings/problem_binding.h"

namespace pelton {
namespace {

namespace py = pybind11;

constexpr double kSecondsPerNs = 1e-9;

py::tuple counted_tuple(const CountedTime& counted) {
  return py::make_tuple(counted.count, counted.ns);
}

ProblemKind kind_of_slug(const std::string& slug) {
  for (size_t kind = 1; kind < kProblemKindCount; ++kind) {
    if (problem_status(static_cast<ProblemKind>(kind)).code == slug) {
      return static_cast<ProblemKind>(kind);
    }
  }
  throw py::value_error("no problem of native code has the slug " + slug);
}

std::unique_ptr<ModelGates> make_gates(const py::kwargs& limits) {
  ModelGates::Options options;
  const std::pair<const char*, int64_t*> members[] = {
      {"body_bytes_max", &options.body_bytes_max},
      {"rows_max", &options.rows_max},
      {"concurrency_max", &options.concurrency_max},
      {"queue_rows_max", &options.queue_rows_max},
      {"request_rows_max", &options.request_rows_max},
      {"batch_rows_max", &options.batch.batch_rows_max},
      {"batch_tokens_max", &options.batch.batch_tokens_max},
  };
  for (const auto& [key, value] : limits) {
    const auto name = key.cast<std::string>();
    int64_t* found = nullptr;
    for (const auto& [member, place] : members) {
      if (name == member) found = place;
    }
    if (found == nullptr) throw py::type_error("the gates have no limit " + name);
    *found = value.cast<int64_t>();
    if (*found < (found == &options.concurrency_max ? 0 : 1)) {
      throw py::value_error("the limit " + name + " is too small");
    }
  }
  return std::make_unique<ModelGates>(options);
}

void before(ModelGates& gates, GateRequest& request, Nanos now) {
  const GateDecision decision = gates.before(request, now);
  if (decision.kind == GateDecision::Kind::kReject) raise_problem(*decision.refusal.problem());
}

void ran(ModelGates& gates, GateRequest& request, Nanos queued, Nanos started, Nanos ended,
         int64_t rows, int64_t tokens) {
  gates.ran(request, {queued, started, ended, rows, tokens});
}

void after(ModelGates& gates, GateRequest& request, int end, Nanos now) {
  if (end < 0 || end > static_cast<int>(RequestEnd::kRejected)) {
    throw py::value_error("no end of a request has this number");
  }
  gates.after(request, static_cast<RequestEnd>(end), now);
}

void count_ok(ModelGates& gates, const GateRequest& request, Nanos decode_ns, Nanos encode_ns,
              Nanos total_ns, int64_t body_bytes) {
  gates.counters().count_ok(request, {decode_ns, encode_ns, total_ns, body_bytes});
}

void bind_request(py::module_& module) {
  py::class_<GateRequest>(module, "GateRequest")
      .def(py::init([](int64_t rows, int64_t tokens, int64_t body_bytes, Nanos arrival,
                       Nanos deadline, int priority) {
             GateRequest request;
             request.row_count = rows;
             request.token_count = tokens;
             request.body_bytes = body_bytes;
             request.arrival = arrival;
             request.deadline = deadline;
             request.priority = priority;
             return request;
           }),
           py::arg("rows"), py::arg("tokens"), py::arg("body_bytes") = 0, py::arg("arrival") = 0,
           py::arg("deadline_ns") = kNoDeadline, py::arg("priority") = GateRequest().priority)
      .def_readonly("passed", &GateRequest::passed)
      .def_readonly("queue_ns", &GateRequest::queue_ns)
      .def_readonly("run_ns", &GateRequest::run_ns);
}

}  // namespace

py::dict counters_dict(const ModelCountersSnapshot& snapshot) {
  py::dict outcomes;
  outcomes["ok"] = snapshot.ok;
  for (size_t kind = 1; kind < kProblemKindCount; ++kind) {
    if (snapshot.problems[kind] == 0) continue;
    const std::string slug(problem_status(static_cast<ProblemKind>(kind)).code);
    outcomes[slug.c_str()] = snapshot.problems[kind];
  }
  py::dict result;
  result["outcomes"] = outcomes;
  result["decode_seconds"] = histogram_dict(snapshot.decode_ns, kSecondsBoundsNs, kSecondsPerNs);
  result["encode_seconds"] = histogram_dict(snapshot.encode_ns, kSecondsBoundsNs, kSecondsPerNs);
  result["bytes_in"] = snapshot.bytes_in;
  result["bytes_out"] = snapshot.bytes_out;
  py::dict times;
  times["success"] = counted_tuple(snapshot.success);
  times["fail"] = counted_tuple(snapshot.fail);
  times["queue"] = counted_tuple(snapshot.queue);
  times["compute_input"] = counted_tuple(snapshot.compute_input);
  times["compute_infer"] = counted_tuple(snapshot.compute_infer);
  times["compute_output"] = counted_tuple(snapshot.compute_output);
  times["cache_hit"] = counted_tuple(snapshot.cache_hit);
  times["cache_miss"] = counted_tuple(snapshot.cache_miss);
  result["times"] = times;
  result["inference_count"] = snapshot.inference_count;
  result["execution_count"] = snapshot.execution_count;
  result["last_inference_ns"] = snapshot.last_inference;
  return result;
}

py::dict gates_dict(const ModelGatesSnapshot& snapshot) {
  py::dict refused;
  for (size_t gate = 0; gate < kGateCount; ++gate) {
    const std::string name(gate_name(static_cast<GateKind>(gate)));
    refused[name.c_str()] = snapshot.refused[gate];
  }
  py::dict result;
  result["in_flight"] = snapshot.in_flight;
  result["queue_rows"] = snapshot.queue_rows;
  result["refused"] = refused;
  result["batch_fixed_ns"] = snapshot.batch_fixed_ns;
  result["batch_token_ns"] = snapshot.batch_token_ns;
  return result;
}

void bind_control(py::module_& module) {
  bind_request(module);
  py::class_<ModelGates>(module, "ModelGates")
      .def(py::init(&make_gates))
      .def("before", &before, py::arg("request"), py::arg("now"))
      .def("ran", &ran, py::arg("request"), py::kw_only(), py::arg("queued"), py::arg("started"),
           py::arg("ended"), py::arg("rows"), py::arg("tokens"))
      .def("after", &after, py::arg("request"), py::arg("end"), py::arg("now"))
      .def("decoded", [](ModelGates& gates, Nanos decode_ns,
                         int64_t body_bytes) { gates.counters().decoded(decode_ns, body_bytes); })
      .def("count_ok", &count_ok, py::arg("request"), py::kw_only(), py::arg("decode_ns"),
           py::arg("encode_ns"), py::arg("total_ns"), py::arg("body_bytes"))
      .def("count_problem",
           [](ModelGates& gates, const std::string& slug, Nanos total_ns) {
             gates.counters().count(kind_of_slug(slug), total_ns);
           })
      .def("counters",
           [](const ModelGates& gates) { return counters_dict(gates.counters().snapshot()); })
      .def("snapshot", [](const ModelGates& gates) { return gates_dict(gates.snapshot()); });
}

}  // namespace pelton
