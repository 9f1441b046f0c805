// SPDX-License-Identifier: MIT
// This process, as the children that it forks can ask whether it still lives.
#pragma once

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace powerprobe {

// Made in the process itself; the children have a copy, with the file that it has open. Any thread.
class Process {
 public:
  Process() noexcept : pid_(::getpid()), fd_(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0))) {}
  ~Process() {
    if (fd_ >= 0) ::close(fd_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  [[nodiscard]] int pid() const noexcept { return pid_; }

  [[nodiscard]] bool is_there() const noexcept {
    // Its own children know without the file, which a child that becomes a daemon may have closed.
    if (::getppid() == pid_ || ::getpid() == pid_) return true;
    if (fd_ < 0) return false;  // before Linux 5.3 only they know
    pollfd file{.fd = fd_, .events = POLLIN, .revents = 0};
    return ::poll(&file, 1, 0) == 0;  // readable once it has ended
  }

 private:
  int pid_;
  int fd_;
};

}  // namespace powerprobe
