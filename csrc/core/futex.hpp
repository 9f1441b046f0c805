// SPDX-License-Identifier: MIT
// Waiting for a 32-bit atomic to change, until an absolute time on CLOCK_MONOTONIC. std::atomic::wait has no time-out, and a
// condition variable would make the sampler take a lock.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>

namespace powerprobe {

static_assert(sizeof(std::atomic<std::uint32_t>) == 4 && std::atomic<std::uint32_t>::is_always_lock_free);

// Who else may sleep on a word: threads of this process, or of others as well, which takes the kernel a little longer.
enum class Sleepers : int { kThreads = FUTEX_PRIVATE_FLAG, kProcesses = 0 };

// Returns when the word is not `expected`, when woken, at the deadline, or for no reason: the caller looks again.
inline void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected, std::int64_t deadline_ns,
                       Sleepers sleepers = Sleepers::kThreads) noexcept {
  const timespec deadline{static_cast<time_t>(deadline_ns / 1'000'000'000), static_cast<long>(deadline_ns % 1'000'000'000)};
  // FUTEX_WAIT_BITSET is the variant whose time-out is absolute and on CLOCK_MONOTONIC (futex(2)).
  ::syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | static_cast<int>(sleepers), expected, &deadline, nullptr, FUTEX_BITSET_MATCH_ANY);
}

inline void futex_wake(const std::atomic<std::uint32_t>& word, Sleepers sleepers = Sleepers::kThreads) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE | static_cast<int>(sleepers), INT_MAX, nullptr, nullptr, 0);
}

}  // namespace powerprobe
