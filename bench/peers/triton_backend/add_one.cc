// The add-one backend: y = x + 1 on FP32 of any shape, the least that a Triton backend can do.
// Built into libtriton_add_one.so; the server calls it with batches.
#include "triton_api.h"

namespace {

bool ok(TRITONSERVER_Error* error) {
  if (error != nullptr) TRITONSERVER_ErrorDelete(error);
  return error == nullptr;
}

// A request that cannot be answered is answered without outputs, which its client sees as an error.
void add_one(TRITONBACKEND_Request* request, TRITONBACKEND_Response* response) {
  TRITONBACKEND_Input* input = nullptr;
  if (!ok(TRITONBACKEND_RequestInput(request, "x", &input))) return;
  const char* name = nullptr;
  TRITONSERVER_DataType type = 0;
  const int64_t* shape = nullptr;
  uint32_t rank = 0;
  uint64_t bytes = 0;
  uint32_t buffer_count = 0;
  if (!ok(TRITONBACKEND_InputProperties(input, &name, &type, &shape, &rank, &bytes,
                                        &buffer_count))) {
    return;
  }
  TRITONBACKEND_Output* output = nullptr;
  if (!ok(TRITONBACKEND_ResponseOutput(response, &output, "y", kTritonFp32, shape, rank))) return;
  void* out = nullptr;
  TRITONSERVER_MemoryType memory = kTritonCpu;
  int64_t device = 0;
  if (!ok(TRITONBACKEND_OutputBuffer(output, &out, bytes, &memory, &device))) return;
  auto* y = static_cast<float*>(out);
  for (uint32_t index = 0; index < buffer_count; ++index) {
    const void* in = nullptr;
    uint64_t in_bytes = 0;
    if (!ok(TRITONBACKEND_InputBuffer(input, index, &in, &in_bytes, &memory, &device))) return;
    const auto* x = static_cast<const float*>(in);
    for (uint64_t i = 0; i < in_bytes / sizeof(float); ++i) *y++ = x[i] + 1.0f;
  }
}

}  // namespace

TRITONSERVER_Error* TRITONBACKEND_ModelInstanceExecute(TRITONBACKEND_ModelInstance*,
                                                       TRITONBACKEND_Request** requests,
                                                       uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    TRITONBACKEND_Response* response = nullptr;
    if (ok(TRITONBACKEND_ResponseNew(&response, requests[i]))) {
      add_one(requests[i], response);
      ok(TRITONBACKEND_ResponseSend(response, kTritonResponseFinal, nullptr));
    }
    ok(TRITONBACKEND_RequestRelease(requests[i], kTritonReleaseAll));
  }
  return nullptr;
}
