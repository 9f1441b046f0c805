// SPDX-License-Identifier: MIT
#include "core/within.hpp"

#include <signal.h>

#include <atomic>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "core/clock.hpp"
#include "core/futex.hpp"

namespace powerprobe {

bool run_within(std::int64_t timeout_ns, std::function<void()> function) {
  // Pairs: the thread's store(release) when all is done  ->  the caller's load(acquire), which then sees what was done.
  auto is_over = std::make_shared<std::atomic<std::uint32_t>>(0);
  auto work = std::make_shared<std::function<void()>>(std::move(function));
  // Signals are for the program's own threads.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  bool is_started = true;
  try {
    std::thread([is_over, work]() mutable {
      (*work)();
      work.reset();
      is_over->store(1, std::memory_order_release);
      futex_wake(*is_over);
    }).detach();
  } catch (const std::system_error&) {
    is_started = false;
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (!is_started) {
    (*work)();
    return true;
  }
  work.reset();
  const std::int64_t deadline_ns = now_ns() + timeout_ns;
  while (is_over->load(std::memory_order_acquire) == 0) {
    if (now_ns() >= deadline_ns) return false;
    futex_wait(*is_over, 0, deadline_ns);
  }
  return true;
}

}  // namespace powerprobe
