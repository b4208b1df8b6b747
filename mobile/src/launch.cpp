#include "launch.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "clock.hpp"
#include "errors.hpp"

namespace edgedistil {
namespace {

constexpr const char* kVariable = "EDGEDISTIL_SPAWNED_NS";

}  // namespace

json::Object launch_again() {
  if (const char* known = std::getenv(kVariable)) {
    const std::int64_t spawned = std::strtoll(known, nullptr, 10);
    unsetenv(kVariable);
    return {{"spawned", spawned}};
  }
  // The kernel's copy of the command, since a loader that was called by name is no part of main's arguments.
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string words((std::istreambuf_iterator<char>(file)), {});
  std::vector<char*> command;
  for (std::size_t at = 0; at < words.size(); at += std::strlen(&words[at]) + 1) command.push_back(&words[at]);
  command.push_back(nullptr);
  setenv(kVariable, std::to_string(monotonic_ns()).c_str(), 1);
  execv("/proc/self/exe", command.data());
  throw Fatal(std::string("cannot start this program again: ") + std::strerror(errno), kBroken);
}

}  // namespace edgedistil
