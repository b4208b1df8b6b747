#include "memory.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

namespace edgedistil {
namespace {

double megabytes(long long kibibytes) { return std::round(static_cast<double>(kibibytes) * 1.024) / 1000; }

std::string real_path(const std::string& path) {
  const std::unique_ptr<char, decltype(&free)> found(realpath(path.c_str(), nullptr), &free);
  return found ? found.get() : path;
}

// The kernel names a mapped file itself, wherever links led to it.
std::set<std::string> files_in(const std::string& folder) {
  std::set<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored)) found.insert(real_path(entry.path().string()));
  }
  return found;
}

double mapped_mb(const std::string& folder) {
  const std::set<std::string> names = files_in(folder);
  std::ifstream maps("/proc/self/smaps");
  long long total = 0;
  bool ours = false;
  for (std::string line; std::getline(maps, line);) {
    const std::size_t first_blank = line.find(' ');
    if (first_blank == std::string::npos || first_blank == 0) continue;
    if (line[first_blank - 1] == ':') {
      if (ours && line.compare(0, 4, "Rss:") == 0) total += std::atoll(line.c_str() + 4);
      continue;
    }
    // A mapping: five fields, then the file's name, whatever is in it.
    std::size_t at = 0;
    for (int field = 0; field < 5 && at != std::string::npos; ++field) {
      at = line.find(' ', at);
      if (at != std::string::npos) at = line.find_first_not_of(' ', at);
    }
    ours = at != std::string::npos && names.count(line.substr(at)) > 0;
  }
  return megabytes(total);
}

}  // namespace

json::Value memory(const std::string& folder) {
  static constexpr std::pair<const char*, const char*> kNames[] = {
      {"VmHWM:", "peak_rss_mb"}, {"VmRSS:", "rss_mb"}, {"RssAnon:", "rss_anonymous_mb"}, {"RssFile:", "rss_file_mb"}};
  json::Value found{json::Object{}};
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    for (const auto& [key, name] : kNames) {
      const std::size_t length = std::char_traits<char>::length(key);
      if (line.compare(0, length, key) == 0) found.add(name, megabytes(std::atoll(line.c_str() + length)));
    }
  }
  if (!folder.empty()) found.add("rss_model_files_mb", mapped_mb(folder));
  return found;
}

bool reset_peak() {
  const int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const bool done = write(file, "5", 1) == 1;
  close(file);
  return done;
}

}  // namespace edgedistil
