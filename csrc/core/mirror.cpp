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

}  // namespace

Mirror::Mirror(std::size_t bytes) : size_(bytes) {
  fd_ = ::memfd_create("powerprobe-ring", MFD_CLOEXEC);
  if (fd_ < 0) refuse("memfd_create", bytes, errno);
  const auto fail = [&](const char* call) {
    const int error = errno;
    if (data_ != nullptr) ::munmap(data_, 2 * size_);
    ::close(fd_);
    refuse(call, bytes, error);
  };
  if (::ftruncate(fd_, static_cast<off_t>(size_)) != 0) fail("ftruncate");
  // Reserve the whole range first, so that the two mappings below replace memory that is ours.
  void* const reserved = ::mmap(nullptr, 2 * size_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (reserved == MAP_FAILED) fail("mmap");
  data_ = reserved;
  for (const std::size_t at : {std::size_t{0}, size_}) {
    void* const place = static_cast<std::byte*>(data_) + at;
    if (::mmap(place, size_, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_, 0) == MAP_FAILED) fail("mmap");
  }
}

void Mirror::lock() {
  if (::mlock(data_, 2 * size_) == 0) return;
  const int error = errno;
  throw Error(ErrorKind::kPermission,
              "mlock of " + std::to_string(2 * size_) + " bytes for a ring failed: " + std::generic_category().message(error), {},
              error, "raise the limit on locked memory (ulimit -l), give CAP_IPC_LOCK, or ask for a shorter history");
}

Mirror::~Mirror() {
  ::munmap(data_, 2 * size_);
  ::close(fd_);
}

}  // namespace powerprobe
