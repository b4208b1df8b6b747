#include "engine.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "errors.hpp"
#include "page_cache.hpp"

namespace edgedistil {
namespace {

constexpr const char *kIds = "input_ids", *kMask = "attention_mask", *kTypes = "token_type_ids";

// model.onnx and what lies beside it under the same name: weights may be outside of the graph's file.
std::vector<std::string> model_files(const std::string& folder) {
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind("model.onnx", 0) == 0) found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  if (found.empty() || std::filesystem::path(found.front()).filename() != "model.onnx") {
    throw Failure("no model.onnx in " + folder);
  }
  return found;
}

using Count = OrtStatus*(ORT_API_CALL*)(const OrtSession*, std::size_t*);
using Name = OrtStatus*(ORT_API_CALL*)(const OrtSession*, std::size_t, OrtAllocator*, char**);

std::vector<std::string> names_of(const OrtSession& session, Count count, Name name) {
  OrtAllocator* allocator = nullptr;
  check(ort().GetAllocatorWithDefaultOptions(&allocator));
  std::size_t length = 0;
  check(count(&session, &length));
  std::vector<std::string> found;
  for (std::size_t i = 0; i < length; ++i) {
    char* text = nullptr;
    check(name(&session, i, allocator, &text));
    found.emplace_back(text);
    check(ort().AllocatorFree(allocator, text));
  }
  return found;
}

std::vector<const char*> pointers(const std::vector<std::string>& names) {
  std::vector<const char*> found;
  for (const std::string& name : names) found.push_back(name.c_str());
  return found;
}

}  // namespace

void Engine::load(const std::string& folder, int threads, const std::map<std::string, std::string>& settings,
                  Phases& phases) {
  session_.reset();
  open_runtime(library_);
  if (!environment_) {
    // Official builds report their use to their maker unless this is set before the first environment.
    setenv("ORT_DISABLE_TELEMETRY", "1", 0);
    OrtEnv* environment = nullptr;
    check(ort().CreateEnv(ORT_LOGGING_LEVEL_WARNING, "edgedistil", &environment));
    environment_ = {environment, ort().ReleaseEnv};
    OrtMemoryInfo* place = nullptr;
    check(ort().CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &place));
    place_ = {place, ort().ReleaseMemoryInfo};
  }
  phases.end("imported");
  const std::vector<std::string> files = model_files(folder);
  for (const std::string& file : files) read_through(file);
  phases.end("read");
  OrtSessionOptions* made = nullptr;
  check(ort().CreateSessionOptions(&made));
  const Handle<OrtSessionOptions> options{made, ort().ReleaseSessionOptions};
  check(ort().SetIntraOpNumThreads(made, threads));
  check(ort().SetInterOpNumThreads(made, 1));
  for (const auto& [key, value] : settings) check(ort().AddSessionConfigEntry(made, key.c_str(), value.c_str()));
  OrtSession* session = nullptr;
  check(ort().CreateSession(environment_.get(), files.front().c_str(), made, &session));
  Handle<OrtSession> opened{session, ort().ReleaseSession};
  inputs_ = names_of(*session, ort().SessionGetInputCount, ort().SessionGetInputName);
  outputs_ = names_of(*session, ort().SessionGetOutputCount, ort().SessionGetOutputName);
  for (const std::string& name : inputs_) {
    if (name != kIds && name != kMask && name != kTypes) {
      throw Failure("the model wants an input '" + name + "': only " + kIds + ", " + kMask + " and " + kTypes +
                    " are fed");
    }
  }
  session_ = std::move(opened);
  phases.end("session");
}

Packed Engine::pack(const Rows& ids, const Rows& types) const {
  if (!session_) throw Failure("no model is loaded");
  if (ids.empty()) throw Failure("a batch without rows");
  if (!types.empty() && types.size() != ids.size()) throw Failure("ids and types differ in their number of rows");
  std::size_t longest = 0;
  for (std::size_t row = 0; row < ids.size(); ++row) {
    if (ids[row].empty()) throw Failure("a row without ids");
    if (!types.empty() && types[row].size() != ids[row].size()) throw Failure("a row's ids and types differ in length");
    longest = std::max(longest, ids[row].size());
  }
  const std::int64_t shape[] = {static_cast<std::int64_t>(ids.size()), static_cast<std::int64_t>(longest)};
  Packed packed;
  for (const std::string& name : inputs_) {
    std::vector<std::int64_t> numbers(ids.size() * longest, 0);
    for (std::size_t row = 0; row < ids.size(); ++row) {
      const auto start = numbers.begin() + static_cast<std::ptrdiff_t>(row * longest);
      if (name == kIds) std::copy(ids[row].begin(), ids[row].end(), start);
      if (name == kMask) std::fill_n(start, ids[row].size(), 1);
      if (name == kTypes && !types.empty()) std::copy(types[row].begin(), types[row].end(), start);
    }
    OrtValue* tensor = nullptr;
    check(ort().CreateTensorWithDataAsOrtValue(place_.get(), numbers.data(), numbers.size() * sizeof(std::int64_t),
                                               shape, 2, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, &tensor));
    packed.tensors.emplace_back(tensor, ort().ReleaseValue);
    packed.numbers.push_back(std::move(numbers));  // moving leaves the numbers where the tensor points to
  }
  return packed;
}

Packed Engine::pack_one(const Row& ids, const Row& types) const {
  return pack({ids}, types.empty() ? Rows{} : Rows{types});
}

std::vector<Handle<OrtValue>> Engine::infer(const Packed& packed) const {
  if (!session_) throw Failure("no model is loaded");
  std::vector<const OrtValue*> fed;
  for (const auto& tensor : packed.tensors) fed.push_back(tensor.get());
  const std::vector<const char*> in = pointers(inputs_), out = pointers(outputs_);
  if (fed.size() != in.size()) throw Failure("these inputs were prepared for another model");
  std::vector<OrtValue*> made(out.size(), nullptr);
  check(ort().Run(session_.get(), nullptr, in.data(), fed.data(), fed.size(), out.data(), out.size(), made.data()));
  std::vector<Handle<OrtValue>> outputs;
  for (OrtValue* value : made) outputs.emplace_back(value, ort().ReleaseValue);
  return outputs;
}

std::vector<double> Engine::first_row(OrtValue& value, const std::string& name) const {
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(ort().GetTensorTypeAndShape(&value, &info));
  const Handle<OrtTensorTypeAndShapeInfo> owner{info, ort().ReleaseTensorTypeAndShapeInfo};
  ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  std::size_t rank = 0;
  check(ort().GetTensorElementType(info, &type));
  check(ort().GetDimensionsCount(info, &rank));
  std::vector<std::int64_t> shape(rank);
  check(ort().GetDimensions(info, shape.data(), rank));
  if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT || rank != 2 || shape[0] < 1) {
    throw Failure("the output '" + name + "' is no matrix of 32-bit floats");
  }
  void* numbers = nullptr;
  check(ort().GetTensorMutableData(&value, &numbers));
  const float* first = static_cast<const float*>(numbers);
  return {first, first + shape[1]};
}

std::vector<double> Engine::predict(const Row& ids, const Row& types) const {
  const auto outputs = infer(pack_one(ids, types));
  return first_row(*outputs.front(), outputs_.front());
}

std::vector<std::vector<double>> Engine::spans(const Row& ids, const Row& types) const {
  std::vector<std::vector<double>> found;
  const auto outputs = infer(pack_one(ids, types));
  for (const char* name : {"start_logits", "end_logits"}) {
    const auto place = std::find(outputs_.begin(), outputs_.end(), name);
    if (place == outputs_.end()) throw Failure("this model does not answer by spans");
    found.push_back(first_row(*outputs[static_cast<std::size_t>(place - outputs_.begin())], name));
  }
  return found;
}

}  // namespace edgedistil
