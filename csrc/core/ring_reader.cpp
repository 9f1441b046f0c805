// SPDX-License-Identifier: MIT
#include "core/ring_reader.hpp"

#include <algorithm>
#include <atomic>
#include <utility>

namespace powerprobe {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free && std::atomic<std::int64_t>::is_always_lock_free &&
              std::atomic<bool>::is_always_lock_free && std::atomic_ref<std::uint64_t>::is_always_lock_free);

RingReader::RingReader(std::shared_ptr<const Ring> ring) noexcept : ring_(std::move(ring)), next_(oldest()) {}

// What lies below this may be being overwritten.
std::uint64_t RingReader::oldest() const noexcept {
  const std::uint64_t claim = header().claim.load(std::memory_order_relaxed);  // torn: ordered by the loads of words before it
  return claim - std::min<std::uint64_t>(claim, ring_->capacity());
}

std::size_t RingReader::read(std::span<Edge> out) noexcept {
  const std::uint64_t head = ring_->head();
  const std::uint64_t begin = std::max(next_, std::min(oldest(), head));
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(head - begin, out.size()));
  const std::uint64_t mask = ring_->capacity() - 1;
  for (std::size_t i = 0; i < count; ++i) out[i] = get(ring_->slots()[(begin + i) & mask]);
  const std::uint64_t safe = std::clamp(oldest(), begin, begin + count);
  const auto torn = static_cast<std::size_t>(safe - begin);
  std::copy(out.begin() + static_cast<std::ptrdiff_t>(torn), out.begin() + static_cast<std::ptrdiff_t>(count), out.begin());
  lost_ += safe - next_;
  next_ = begin + count;
  return count - torn;
}

}  // namespace powerprobe
