#include "cores.hpp"

#include <sched.h>

#include <cerrno>
#include <cstring>
#include <set>

#include "errors.hpp"

namespace edgedistil {
namespace {

[[noreturn]] void refuse(const std::string& text) {
  throw Fatal("cores '" + text + "' are none: give numbers below " + std::to_string(CPU_SETSIZE) +
                  " and ranges, such as 0,2 or 4-7",
              kMisused);
}

int number_at(const std::string& text, std::size_t& at) {
  std::size_t length = 0;
  int value = 0;
  for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at, ++length) value = value * 10 + (text[at] - '0');
  if (length == 0 || length > 4 || value >= CPU_SETSIZE) refuse(text);
  return value;
}

std::vector<int> granted() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> found;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return found;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) found.push_back(core);
  }
  return found;
}

}  // namespace

std::vector<int> parse_cores(const std::string& text) {
  std::set<int> found;
  std::size_t at = 0;
  do {
    const int first = number_at(text, at);
    int last = first;
    if (at < text.size() && text[at] == '-') last = number_at(text, ++at);
    if (last < first) refuse(text);
    for (int core = first; core <= last; ++core) found.insert(core);
    if (at < text.size() && text[at] != ',') refuse(text);
  } while (at++ < text.size());
  return {found.begin(), found.end()};
}

void stay_on(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(core, &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    throw Fatal(std::string("cannot stay on the cores asked for: ") + std::strerror(errno), kBroken);
  }
  // The kernel takes a set of which only some cores are online or allowed; a measurement on fewer is another one.
  if (granted() != cores) throw Fatal("the system grants only some of the cores asked for", kBroken);
}

json::Value present_cores() {
  const std::vector<int> cores = granted();
  if (cores.empty()) return {};
  return json::Array(cores.begin(), cores.end());
}

}  // namespace edgedistil
