// One model on ONNX Runtime's CPU provider, fed with token ids.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "phases.hpp"
#include "runtime.hpp"

namespace edgedistil {

using Row = std::vector<std::int64_t>;
using Rows = std::vector<Row>;

// The tensors of one batch, [rows, longest row] each, int64; they own what they are made of.
struct Packed {
  std::vector<std::vector<std::int64_t>> numbers;
  std::vector<Handle<OrtValue>> tensors;
};

class Engine {
 public:
  // `library` as open_runtime takes it.
  explicit Engine(std::string library) : library_(std::move(library)) {}

  // Default options but for the threads (one between operators) and `settings`, which ONNX Runtime calls session
  // configuration entries. Closes the phases "imported" (the library), "read" and "session".
  // Throws Failure when there is no model.onnx in the folder or when it can't be loaded.
  void load(const std::string& folder, int threads, const std::map<std::string, std::string>& settings,
            Phases& phases);

  // Padded on the right with 0, the mask to match; types are 0 where none are given.
  // Throws Failure for rows or types without ids or of different lengths.
  Packed pack(const Rows& ids, const Rows& types) const;

  // One inference; returns when all outputs are there, and has given them back.
  void run(const Packed& packed) const { infer(packed); }

  // Logits of one unpadded text, [classes].
  std::vector<double> predict(const Row& ids, const Row& types) const;

  // Start and end logits of one window, [ids] each.
  std::vector<std::vector<double>> spans(const Row& ids, const Row& types) const;

  const std::vector<std::string>& inputs() const { return inputs_; }
  const std::vector<std::string>& outputs() const { return outputs_; }

 private:
  std::vector<Handle<OrtValue>> infer(const Packed& packed) const;
  Packed pack_one(const Row& ids, const Row& types) const;
  std::vector<double> first_row(OrtValue& value, const std::string& name) const;

  std::string library_;
  Handle<OrtEnv> environment_{nullptr, nullptr};
  Handle<OrtMemoryInfo> place_{nullptr, nullptr};
  Handle<OrtSession> session_{nullptr, nullptr};
  std::vector<std::string> inputs_, outputs_;
};

}  // namespace edgedistil
