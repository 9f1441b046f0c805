// SPDX-License-Identifier: MIT
// Publishing one edge, next to storing its 32 bytes into memory of the same kind. One thread.
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/clock.hpp"
#include "core/edge.hpp"
#include "core/mirror.hpp"
#include "core/ring.hpp"
#include "pairs.hpp"

namespace bench {
namespace {

constexpr std::size_t kCapacity = 1 << 12;  // 128 KiB: what the caches do to larger memory is not what is asked
constexpr std::int64_t kEdges = 2'000'000;

powerprobe::Edge edge(std::int64_t i) {
  powerprobe::Edge result;
  result.t_ns = i;
  result.joules = 1.0;
  return result;
}

}  // namespace

int publish(int rounds) {
  const auto ring = powerprobe::Ring::create(kCapacity);
  powerprobe::Mirror memory(kCapacity * sizeof(powerprobe::Edge));
  auto* const slots = static_cast<powerprobe::Edge*>(memory.data());

  const auto ours = [&] {
    const std::int64_t begin = powerprobe::thread_cpu_ns();
    for (std::int64_t i = 0; i < kEdges; ++i) (void)ring->publish(edge(i));
    return static_cast<double>(powerprobe::thread_cpu_ns() - begin) / kEdges;
  };
  const auto limit = [&] {
    const std::int64_t begin = powerprobe::thread_cpu_ns();
    for (std::int64_t i = 0; i < kEdges; ++i) {
      slots[static_cast<std::size_t>(i) & (kCapacity - 1)] = edge(i);
      std::atomic_signal_fence(std::memory_order_seq_cst);  // each store must happen, not only the last of a slot
    }
    return static_cast<double>(powerprobe::thread_cpu_ns() - begin) / kEdges;
  };
  pairs(rounds, "Ring::publish; limit: a 32-byte store into mirrored memory", ours, limit);
  return 0;
}

}  // namespace bench
