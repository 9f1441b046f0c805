// SPDX-License-Identifier: MIT
// For the moment in which a thread of ours is made: it inherits that it takes no signals. They are meant for the program's own
// threads (ctrl-C would wake ours instead of the main one).
#pragma once

#include <pthread.h>
#include <signal.h>

namespace powerprobe {

class WithoutSignals {
 public:
  WithoutSignals() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~WithoutSignals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  WithoutSignals(const WithoutSignals&) = delete;
  WithoutSignals& operator=(const WithoutSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace powerprobe
