#include "protocol.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "clock.hpp"
#include "cores.hpp"
#include "errors.hpp"
#include "facts.hpp"
#include "memory.hpp"
#include "request.hpp"

namespace edgedistil {
namespace {

json::Value object(const char* name, json::Value value) {
  json::Value found{json::Object{}};
  found.add(name, std::move(value));
  return found;
}

template <typename T>
json::Value list(const std::vector<T>& values) {
  return json::Array(values.begin(), values.end());
}

std::int64_t involuntary_switches() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  return used.ru_nivcsw;
}

}  // namespace

json::Value Protocol::answer(const std::string& op, const json::Value& fields) {
  if (op == "load") return load(fields);
  if (op == "prepare") return prepare(fields);
  if (op == "time") return time(fields);
  if (op == "predict") return predict(fields);
  if (op == "spans") return spans(fields);
  if (op == "memory") {
    json::Value found = object("memory", memory(folder_));
    reset_peak();
    return found;
  }
  if (op == "usage") return object("cpu_s", static_cast<double>(process_ns()) / 1e9);
  if (op == "tokenize") throw Failure("this engine has no tokenizer of its own");
  if (op == "probe") throw Failure("this engine measures nothing of the processor");
  throw Failure("unknown op '" + op + "'");
}

json::Value Protocol::load(const json::Value& fields) {
  const Request request(fields);
  if (!request.has("ids")) throw Failure("this engine has no tokenizer: load needs the first text as 'ids'");
  if (request.has("quantization") && request.text("quantization") != "none") {
    throw Failure("this engine quantises nothing while it loads: a model.onnx says all itself");
  }
  const Rows ids = request.rows("ids"), types = request.types_for(ids);
  if (ids.size() != 1) throw Failure("load answers one text: 'ids' must have one row");
  folder_ = request.text("folder");
  prepared_.clear();
  const bool resettable = reset_peak();
  Phases phases(folder_);
  engine_.load(folder_, request.number("threads", 1), request.settings("session_options"), phases);
  // Models of classes and of spans alike: the first answer is there when all outputs are.
  engine_.run(engine_.pack(ids, request.has("types") ? types : Rows{}));
  phases.end("first_logits");

  json::Value now = memory(folder_), whole{json::Object{}}, clocks{clocks_};
  // Phases set the mark back between them; the peak of loading is the highest of theirs.
  for (const auto& [name, value] : *now.as<json::Object>()) {
    whole.add(name, name == "peak_rss_mb" ? json::Value(std::max(phases.peak_mb(), *value.as<double>())) : value);
  }
  reset_peak();
  phases.add_to(clocks);
  json::Value facts = processor_facts();
  facts.add("ort_version", runtime_version());
  facts.add("ort_headers", "1." + std::to_string(ORT_API_VERSION));
  facts.add("inputs", list(engine_.inputs()));
  facts.add("outputs", list(engine_.outputs()));

  json::Value found{json::Object{}};
  found.add("clock_ns", std::move(clocks));
  found.add("memory", std::move(whole));
  found.add("memory_by_phase", phases.memory_by_phase());
  found.add("peak_resettable", resettable);
  found.add("pid", static_cast<std::int64_t>(getpid()));
  found.add("cores", present_cores());
  found.add("facts", std::move(facts));
  return found;
}

json::Value Protocol::prepare(const json::Value& fields) {
  const Request request(fields);
  const std::string& name = request.text("name");
  std::vector<Packed> packed;
  for (const Rows& rows : request.batches("batches")) packed.push_back(engine_.pack(rows, {}));
  const auto count = static_cast<std::int64_t>(packed.size());
  prepared_[name] = std::move(packed);
  return object("batches", count);
}

json::Value Protocol::time(const json::Value& fields) const {
  const Request request(fields);
  const auto place = prepared_.find(request.text("name"));
  if (place == prepared_.end()) throw Failure("nothing was prepared as '" + request.text("name") + "'");
  const std::vector<Packed>& inputs = place->second;
  if (inputs.empty()) throw Failure("no batch was prepared as '" + place->first + "'");
  const int start = request.number("start", 0), count = request.number("count", 0);
  std::vector<double> wall, cpu;
  wall.reserve(static_cast<std::size_t>(count));
  cpu.reserve(static_cast<std::size_t>(count));
  const std::int64_t before = involuntary_switches();
  for (std::int64_t call = start; call < std::int64_t{start} + count; ++call) {
    const Packed& packed = inputs[static_cast<std::size_t>(call) % inputs.size()];
    const std::int64_t cpu_0 = process_ns(), wall_0 = monotonic_ns();
    engine_.run(packed);
    const std::int64_t wall_1 = monotonic_ns(), cpu_1 = process_ns();
    wall.push_back(milliseconds(wall_1 - wall_0));
    cpu.push_back(milliseconds(cpu_1 - cpu_0));
  }
  const std::int64_t taken = involuntary_switches() - before;
  json::Value found = object("wall_ms", list(wall));
  found.add("cpu_ms", list(cpu));
  found.add("involuntary_switches", taken);
  return found;
}

json::Value Protocol::predict(const json::Value& fields) const {
  const Request request(fields);
  if (!request.has("ids")) throw Failure("this engine has no tokenizer: predict needs 'ids' in place of 'texts'");
  const Rows ids = request.rows("ids"), types = request.types_for(ids);
  json::Array found;
  for (std::size_t row = 0; row < ids.size(); ++row) found.push_back(list(engine_.predict(ids[row], types[row])));
  return object("logits", std::move(found));
}

json::Value Protocol::spans(const json::Value& fields) const {
  const Request request(fields);
  const Rows ids = request.rows("ids"), types = request.types_for(ids);
  json::Array found;
  for (std::size_t row = 0; row < ids.size(); ++row) {
    json::Array sides;
    for (const std::vector<double>& side : engine_.spans(ids[row], types[row])) sides.push_back(list(side));
    found.emplace_back(std::move(sides));
  }
  return object("logits", std::move(found));
}

}  // namespace edgedistil
