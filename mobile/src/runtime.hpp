// ONNX Runtime's C API, from a library that is opened while the process runs: the time that takes is a phase of the
// start, and one binary serves whatever build of the library lies beside it.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <string>

namespace edgedistil {

// Opens libonnxruntime once; later calls do nothing.
// `library`: a file, or empty for libonnxruntime.so.1 or libonnxruntime.so, where the system's loader looks (beside
// this program first). Throws Fatal when there is none, or when it is older than the headers of this build.
void open_runtime(const std::string& library);

// The functions of the opened library.
const OrtApi& ort();

// Its version, such as "1.31.1".
std::string runtime_version();

// Throws Failure with ONNX Runtime's own message.
void check(OrtStatus* status);

// An object of the library, released by the library.
template <typename T>
using Handle = std::unique_ptr<T, void (*)(T*)>;

}  // namespace edgedistil
