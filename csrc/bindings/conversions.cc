#include "csrc/bindings/conversions.h"

#include <string>
#include <string_view>

namespace pelton {
namespace {

// One reference for the life of the process.
PyObject* native_error = nullptr;

// The dtype of a NumPy array as the plan's type, by kind and width; BF16 has none in NumPy.
bool is_dtype(const py::array& array, DType dtype) {
  const char kind = array.dtype().kind();
  const auto width = static_cast<size_t>(array.itemsize());
  if (width != dtype_bytes(dtype)) return false;
  switch (dtype) {
    case DType::kBool:
      return kind == 'b';
    case DType::kUint8:
    case DType::kUint16:
    case DType::kUint32:
    case DType::kUint64:
    case DType::kBf16:
      return kind == 'u';
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      return kind == 'i';
    case DType::kFp16:
    case DType::kFp32:
    case DType::kFp64:
      return kind == 'f';
    case DType::kBytes:
      return false;
  }
  return false;
}

int64_t expected_bytes(const PlanTensor& tensor, int64_t rows, int64_t tokens) {
  int64_t bytes = static_cast<int64_t>(dtype_bytes(tensor.dtype));
  for (const int64_t dim : tensor.dims) {
    bytes *= dim == plan_format::kDimRows ? rows : dim == plan_format::kDimTokens ? tokens : dim;
  }
  return bytes;
}

py::array checked_array(const py::handle& object, const PlanTensor& tensor, int64_t rows,
                        int64_t tokens) {
  const std::string name = "tensor '" + tensor.name + "': ";
  if (!py::isinstance<py::array>(object))
    raise_status(invalid_argument(name + "expected an array"));
  auto array = py::reinterpret_borrow<py::array>(object);
  if (!is_dtype(array, tensor.dtype)) {
    raise_status(invalid_argument(name + "expected " + std::string(dtype_name(tensor.dtype)) +
                                  ", got " + std::string(py::str(array.dtype()))));
  }
  if (!(array.flags() & py::array::c_style)) {
    raise_status(invalid_argument(name + "expected a C-contiguous array"));
  }
  const int64_t expected = expected_bytes(tensor, rows, tokens);
  if (array.nbytes() != expected) {
    raise_status(invalid_argument(name + "expected " + std::to_string(expected) + " bytes, got " +
                                  std::to_string(array.nbytes())));
  }
  return array;
}

}  // namespace

void bind_error(py::module_& module) {
  native_error = PyErr_NewExceptionWithDoc(
      "pelton._native.NativeError",
      "A failed native call. `code` is the number of csrc/base/status.h's StatusCode.", nullptr,
      nullptr);
  if (!native_error) throw py::error_already_set();
  module.attr("NativeError") = py::reinterpret_borrow<py::object>(native_error);
}

void raise_status(const Status& status) {
  py::object error =
      py::reinterpret_borrow<py::object>(native_error)(std::string(status.message()));
  error.attr("code") = static_cast<int>(status.code());
  PyErr_SetObject(native_error, error.ptr());
  throw py::error_already_set();
}

py::tuple describe_tensor(const PlanTensor& tensor) {
  py::tuple dims(tensor.dims.size());
  for (size_t i = 0; i < tensor.dims.size(); ++i) dims[i] = tensor.dims[i];
  return py::make_tuple(tensor.name, std::string(dtype_name(tensor.dtype)), dims);
}

ArrayRequest::ArrayRequest(const Plan& plan, const py::sequence& input_arrays,
                           const py::sequence& output_arrays, int64_t rows,
                           const py::object& lengths) {
  if (input_arrays.size() != plan.inputs().size() ||
      output_arrays.size() != plan.outputs().size()) {
    raise_status(invalid_argument("expected " + std::to_string(plan.inputs().size()) +
                                  " inputs and " + std::to_string(plan.outputs().size()) +
                                  " outputs, got " + std::to_string(input_arrays.size()) + " and " +
                                  std::to_string(output_arrays.size())));
  }
  if (rows < 1)
    raise_status(invalid_argument("expected at least 1 row, got " + std::to_string(rows)));
  view.row_count = rows;
  view.token_count = rows;
  if (!lengths.is_none()) {
    const PlanTensor lengths_tensor{"lengths",
                                    plan_format::TensorRole::kInput,
                                    plan_format::TensorLayout::kRowMajor,
                                    DType::kInt32,
                                    {plan_format::kDimRows}};
    py::array array = checked_array(lengths, lengths_tensor, rows, rows);
    view.lengths = {static_cast<const int32_t*>(array.data()), static_cast<size_t>(rows)};
    view.token_count = 0;
    for (const int32_t length : view.lengths) view.token_count += length;
    arrays.push_back(std::move(array));
  }
  for (size_t i = 0; i < plan.inputs().size(); ++i) {
    const PlanTensor& tensor = plan.tensors()[static_cast<size_t>(plan.inputs()[i])];
    const py::object object = input_arrays[i];
    py::array array = checked_array(object, tensor, rows, view.token_count);
    inputs.push_back(static_cast<const std::byte*>(array.data()));
    arrays.push_back(std::move(array));
  }
  for (size_t i = 0; i < plan.outputs().size(); ++i) {
    const PlanTensor& tensor = plan.tensors()[static_cast<size_t>(plan.outputs()[i])];
    const py::object object = output_arrays[i];
    if (object.is_none()) {
      outputs.push_back(nullptr);
      continue;
    }
    py::array array = checked_array(object, tensor, rows, view.token_count);
    if (!array.writeable()) {
      raise_status(invalid_argument("tensor '" + tensor.name + "': expected a writable array"));
    }
    outputs.push_back(static_cast<std::byte*>(array.mutable_data()));
    arrays.push_back(std::move(array));
  }
  view.inputs = inputs;
  view.outputs = outputs;
}

}  // namespace pelton
