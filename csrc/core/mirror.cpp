// SPDX-License-Identifier: MIT
#include "core/mirror.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "core/error.hpp"

namespace powerprobe {
namespace {

[[noreturn]] void refuse(const char* call, std::size_t bytes, int error) {
  throw Error(ErrorKind::kUnavailable,
              std::string(call) + " of " + std::to_string(bytes) +
                  " bytes for a ring failed: " + std::generic_category().message(error),
              {}, error, "ask for a shorter history, or for fewer channels");
}

std::size_t page_size() noexcept { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)); }

}  // namespace

Mirror::Mirror(std::size_t bytes) : size_(bytes) {
  const std::size_t page = page_size();
  fd_ = ::memfd_create("powerprobe-ring", MFD_CLOEXEC);
  if (fd_ < 0) refuse("memfd_create", bytes, errno);
  const auto fail = [&](const char* call) {
    const int error = errno;
    if (header_ != nullptr) ::munmap(header_, page + 2 * size_);
    ::close(fd_);
    refuse(call, bytes, error);
  };
  if (::ftruncate(fd_, static_cast<off_t>(page + size_)) != 0) fail("ftruncate");
  // Reserve the whole range first, so that the two mappings below replace memory that is ours.
  void* const reserved = ::mmap(nullptr, page + 2 * size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) fail("mmap");
  header_ = reserved;
  data_ = static_cast<std::byte*>(header_) + page;
  const auto map = [&](void* place, std::size_t size, std::size_t offset) {
    constexpr int kAccess = PROT_READ | PROT_WRITE;
    void* const mapped = ::mmap(place, size, kAccess, MAP_SHARED | MAP_FIXED, fd_, static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) fail("mmap");
  };
  map(header_, page + size_, 0);
  map(static_cast<std::byte*>(data_) + size_, size_, page);
}

void Mirror::lock() {
  const std::size_t bytes = page_size() + 2 * size_;
  if (::mlock(header_, bytes) == 0) return;
  const int error = errno;
  throw Error(ErrorKind::kPermission,
              "mlock of " + std::to_string(bytes) + " bytes for a ring failed: " + std::generic_category().message(error), {},
              error, "raise the limit on locked memory (ulimit -l), give CAP_IPC_LOCK, or ask for a shorter history");
}

Mirror::~Mirror() {
  ::munmap(header_, page_size() + 2 * size_);
  ::close(fd_);
}

}  // namespace powerprobe
