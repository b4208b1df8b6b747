#include "options.hpp"

#include <cstdlib>

#include "cores.hpp"
#include "errors.hpp"

namespace edgedistil {

Options read_options(int count, char** arguments) {
  Options options;
  const char* from_environment = std::getenv("EDGEDISTIL_CORES");
  std::string cores = from_environment ? from_environment : "";
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--own-clock") {
      options.own_clock = true;
    } else if (name == "--cores" || name == "--library") {
      if (++i == count || !*arguments[i]) throw Fatal("no value for " + name, kMisused);
      (name == "--cores" ? cores : options.library) = arguments[i];
    } else {
      throw Fatal("unknown option '" + name + "': there are --cores LIST, --library FILE and --own-clock", kMisused);
    }
  }
  if (!cores.empty()) options.cores = parse_cores(cores);
  return options;
}

}  // namespace edgedistil
