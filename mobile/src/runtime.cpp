#include "runtime.hpp"

#include <dlfcn.h>

#include <vector>

#include "errors.hpp"

namespace edgedistil {
namespace {

const OrtApiBase* base = nullptr;
const OrtApi* functions = nullptr;

}  // namespace

void open_runtime(const std::string& library) {
  if (functions) return;
  const std::vector<std::string> names =
      library.empty() ? std::vector<std::string>{"libonnxruntime.so.1", "libonnxruntime.so"} : std::vector{library};
  std::string reasons;
  void* opened = nullptr;
  for (const std::string& name : names) {
    opened = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (opened) break;
    reasons += (reasons.empty() ? "" : "; ") + std::string(dlerror());
  }
  if (!opened) throw Fatal("cannot open ONNX Runtime: " + reasons, kBroken);
  const auto get_base = reinterpret_cast<decltype(&OrtGetApiBase)>(dlsym(opened, "OrtGetApiBase"));
  if (!get_base) throw Fatal("this library is not ONNX Runtime: it has no OrtGetApiBase", kBroken);
  base = get_base();
  functions = base->GetApi(ORT_API_VERSION);
  if (!functions) {
    throw Fatal("ONNX Runtime " + runtime_version() + " is too old: this program was built for version 1." +
                    std::to_string(ORT_API_VERSION) + " or later",
                kBroken);
  }
}

const OrtApi& ort() { return *functions; }

std::string runtime_version() { return base->GetVersionString(); }

void check(OrtStatus* status) {
  if (!status) return;
  const std::string message = ort().GetErrorMessage(status);
  ort().ReleaseStatus(status);
  throw Failure("ONNX Runtime: " + message);
}

}  // namespace edgedistil
