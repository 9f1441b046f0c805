// SPDX-License-Identifier: MIT
#include "core/mark.hpp"

#include "core/clock.hpp"
#include "core/futex.hpp"

namespace powerprobe {

bool Mark::wait_until(std::int64_t deadline_ns) const noexcept {
  while (true) {
    const std::uint32_t remaining = remaining_.load(std::memory_order_acquire);  // done
    if (remaining == 0) return true;
    if (now_ns() >= deadline_ns) return false;
    futex_wait(remaining_, remaining, deadline_ns);
  }
}

void Mark::finish_one() noexcept {
  if (remaining_.fetch_sub(1, std::memory_order_acq_rel) == 1) futex_wake(remaining_);  // done
}

}  // namespace powerprobe
