#include "page_cache.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "errors.hpp"

namespace edgedistil {
namespace {

// madvise(2) MADV_POPULATE_READ; older C libraries have no name for it.
constexpr int kPopulateRead = 22;
constexpr off_t kWindowBytes = 1 << 22;
constexpr std::size_t kPieceBytes = 1 << 20;

bool fault_in(int file, off_t size) {
  for (off_t start = 0; start < size; start += kWindowBytes) {
    const auto length = static_cast<std::size_t>(std::min(kWindowBytes, size - start));
    void* view = mmap(nullptr, length, PROT_READ, MAP_SHARED, file, start);
    if (view == MAP_FAILED) return false;
    const bool done = madvise(view, length, kPopulateRead) == 0;
    munmap(view, length);
    if (!done) return false;
  }
  return true;
}

}  // namespace

void read_through(const std::string& file) {
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Failure("cannot open " + file + ": " + std::strerror(errno));
  struct stat facts {};
  bool good = fstat(descriptor, &facts) == 0;
  if (good && !fault_in(descriptor, facts.st_size)) {
    std::vector<char> piece(kPieceBytes);
    ssize_t length = 0;
    do {
      length = read(descriptor, piece.data(), piece.size());
    } while (length > 0 || (length < 0 && errno == EINTR));
    good = length == 0;
  }
  const int reason = errno;
  close(descriptor);
  if (!good) throw Failure("cannot read " + file + ": " + std::strerror(reason));
}

}  // namespace edgedistil
