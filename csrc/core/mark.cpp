// SPDX-License-Identifier: MIT
#include "core/mark.hpp"

#include <algorithm>

#include "core/clock.hpp"
#include "core/futex.hpp"

namespace powerprobe {

bool Mark::is_done() const noexcept {
  for (std::size_t channel = 0; channel < slots_.size(); ++channel) {
    if (!is_done(channel)) return false;
  }
  return true;
}

template <typename Condition>
bool Mark::wait_for(std::int64_t deadline_ns, Condition condition) const noexcept {
  while (true) {
    const std::uint32_t seen = changes_.load(std::memory_order_acquire);  // wake
    if (condition()) return true;
    if (now_ns() >= deadline_ns) return false;
    futex_wait(changes_, seen, deadline_ns);
  }
}

bool Mark::wait_until(std::int64_t deadline_ns, std::span<const std::size_t> channels) const noexcept {
  return wait_for(deadline_ns, [&] {
    return std::all_of(channels.begin(), channels.end(), [this](std::size_t channel) { return is_done(channel); });
  });
}

bool Mark::wait_until(std::int64_t deadline_ns) const noexcept {
  return wait_for(deadline_ns, [this] { return is_done(); });
}

void Mark::finish(std::size_t channel) noexcept { is_done_[channel].store(true, std::memory_order_release); }  // done

void Mark::wake() noexcept {
  changes_.fetch_add(1, std::memory_order_release);  // wake
  futex_wake(changes_);
}

}  // namespace powerprobe
