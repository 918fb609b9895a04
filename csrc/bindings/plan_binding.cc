#include "csrc/bindings/plan_binding.h"

#include <pybind11/stl.h>

#include <memory>
#include <string>

#include "csrc/plan/instruction_rules.h"

namespace pelton {
namespace {

using plan_format::Op;
using PlanPointer = std::shared_ptr<const Plan>;

py::list describe_tensors(const Plan& plan, std::span<const int32_t> indices) {
  py::list tensors;
  for (const int32_t index : indices) {
    tensors.append(describe_tensor(plan.tensors()[static_cast<size_t>(index)]));
  }
  return tensors;
}

py::list operand_names(const Plan& plan, std::span<const int32_t> operands) {
  py::list names;
  for (const int32_t operand : operands) {
    if (operand == plan_format::kNoTensor) {
      names.append(py::none());
    } else {
      names.append(plan.tensors()[static_cast<size_t>(operand)].name);
    }
  }
  return names;
}

py::dict attributes(const PlanInstruction& instruction) {
  py::dict result;
  switch (instruction.op) {
    case Op::kEmbedding:
      result["first_position"] = instruction.ints[0];
      break;
    case Op::kLayerNorm:
    case Op::kL2Normalize:
      result["epsilon"] = instruction.floats[0];
      break;
    case Op::kGemm:
    case Op::kActivation:
      result["activation"] = instruction.ints[0];
      break;
    case Op::kRaggedAttention:
      result["heads"] = instruction.ints[0];
      result["scale"] = instruction.floats[0];
      break;
    case Op::kPool:
      result["pooling"] = instruction.ints[0];
      break;
    case Op::kBinary:
      result["binary"] = instruction.ints[0];
      break;
  }
  return result;
}

py::list instructions(const Plan& plan) {
  py::list list;
  for (const PlanInstruction& instruction : plan.instructions()) {
    py::dict entry;
    entry["op"] = std::string(op_name(instruction.op));
    entry["inputs"] = operand_names(plan, instruction.inputs);
    entry["outputs"] = operand_names(plan, instruction.outputs);
    entry["attributes"] = attributes(instruction);
    list.append(entry);
  }
  return list;
}

py::bytes attachment(const Plan& plan, const std::string& name) {
  for (const PlanAttachment& a : plan.attachments()) {
    if (a.name != name) continue;
    return py::bytes(reinterpret_cast<const char*>(a.bytes.data()), a.bytes.size());
  }
  raise_status(Status(StatusCode::kNotFound, "the plan has no attachment '" + name + "'"));
}

PlanPointer open_plan(const std::string& path, uint64_t verify_weights_bytes_max) {
  Result<PlanPointer> plan = [&] {
    py::gil_scoped_release release;
    return Plan::open(path, {verify_weights_bytes_max});
  }();
  return value_or_raise(std::move(plan));
}

}  // namespace

void bind_plan(py::module_& module) {
  py::class_<Plan, std::shared_ptr<Plan>>(module, "Plan", "A validated plan, memory-mapped.")
      .def_static(
          "open",
          [](const std::string& path, uint64_t verify_weights_bytes_max) {
            return std::const_pointer_cast<Plan>(open_plan(path, verify_weights_bytes_max));
          },
          py::arg("path"), py::arg("verify_weights_bytes_max") = uint64_t{1} << 30)
      .def("verify_weights",
           [](const Plan& plan) {
             const Status status = [&] {
               py::gil_scoped_release release;
               return plan.verify_weights();
             }();
             raise_unless_ok(status);
           })
      .def_property_readonly("ragged", &Plan::ragged)
      .def_property_readonly("metadata",
                             [](const Plan& plan) { return std::string(plan.metadata()); })
      .def_property_readonly("inputs",
                             [](const Plan& plan) { return describe_tensors(plan, plan.inputs()); })
      .def_property_readonly(
          "outputs", [](const Plan& plan) { return describe_tensors(plan, plan.outputs()); })
      .def_property_readonly("file_bytes", &Plan::file_bytes)
      .def_property_readonly("weight_bytes", &Plan::weight_bytes)
      .def_property_readonly("attachments",
                             [](const Plan& plan) {
                               py::list names;
                               for (const PlanAttachment& a : plan.attachments())
                                 names.append(a.name);
                               return names;
                             })
      .def("attachment", &attachment, py::arg("name"))
      .def("instructions", &instructions);
}

}  // namespace pelton
