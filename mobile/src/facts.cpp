#include "facts.hpp"

#include <sys/utsname.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

#if defined(__aarch64__)
#include <sys/auxv.h>

#include <cstdio>
#endif

namespace edgedistil {
namespace {

std::string trimmed(const std::string& text) {
  const std::size_t first = text.find_first_not_of(" \t");
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

#if defined(__aarch64__)
// Bits of the kernel's arm64 interface (Documentation/arch/arm64/elf_hwcaps.rst). The auxiliary vector is asked, not
// /proc/cpuinfo, because an emulator of user programs may show the host's file.
struct Bit {
  const char* name;
  int word;
  int bit;
};
constexpr Bit kBits[] = {{"asimdhp", 0, 10}, {"asimddp", 0, 20}, {"sve", 0, 22},
                         {"sve2", 1, 1},     {"i8mm", 1, 13},    {"bf16", 1, 14}, {"sme", 1, 23}};

void add_instruction_sets(json::Value& facts, const std::set<std::string>&) {
  const unsigned long words[] = {getauxval(AT_HWCAP), getauxval(AT_HWCAP2)};
  json::Array found;
  for (const Bit& bit : kBits) {
    if (words[bit.word] >> bit.bit & 1) found.emplace_back(bit.name);
  }
  facts.add("isa", found);
  for (int word = 0; word < 2; ++word) {
    char digits[24];
    std::snprintf(digits, sizeof digits, "%#lx", words[word]);
    facts.add(word ? "hwcap2" : "hwcap", digits);
  }
}
#else
void add_instruction_sets(json::Value& facts, const std::set<std::string>& flags) {
  json::Array found;
  for (const char* name :
       {"avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}) {
    if (flags.count(name)) found.emplace_back(name);
  }
  facts.add("isa", found);
}
#endif

}  // namespace

json::Value processor_facts() {
  utsname system{};
  uname(&system);
  std::string name, implementer;
  std::set<std::string> parts, flags;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = trimmed(line.substr(0, colon)), value = trimmed(line.substr(colon + 1));
    if ((key == "model name" || key == "Hardware") && name.empty()) name = value;
    if (key == "CPU implementer") implementer = value;
    if (key == "CPU part") parts.insert(implementer + ":" + value);
    if (key == "flags" && flags.empty()) {
      std::istringstream words(value);
      for (std::string word; words >> word;) flags.insert(word);
    }
  }
  json::Value facts{json::Object{}};
  facts.add("machine", system.machine);
  facts.add("cpu", name.empty() ? json::Value() : json::Value(name));
  facts.add("cpu_parts", json::Array(parts.begin(), parts.end()));
  add_instruction_sets(facts, flags);
  return facts;
}

}  // namespace edgedistil
