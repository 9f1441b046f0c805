// SPDX-License-Identifier: MIT
#include "core/ring.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <memory>
#include <new>
#include <utility>

namespace powerprobe {
namespace {

std::atomic<std::int64_t> g_live_rings{0};   // counted for tests, ordered by nothing
std::atomic<std::int64_t> g_live_leases{0};  // the same

// How many forks this process is away from the first one; relaxed, because a child begins with one thread. The mutex around the pins
// of a ring that a child inherited may be held for ever by a thread that does not exist there.
std::atomic<std::int32_t> g_forks{0};
[[maybe_unused]] const int kIsToldOfForks =
    ::pthread_atfork(nullptr, nullptr, [] { g_forks.fetch_add(1, std::memory_order_relaxed); });

std::size_t rounded(std::size_t edges) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  return std::bit_ceil(std::max(edges, page / sizeof(Edge)));
}

}  // namespace

std::shared_ptr<Ring> Ring::create(std::size_t min_capacity) {
  return std::shared_ptr<Ring>(new Ring(rounded(min_capacity)));
}

Ring::Ring(std::size_t capacity)
    : memory_(capacity * sizeof(Edge)),
      header_(::new(memory_.header()) RingHeader),
      slots_(static_cast<Edge*>(memory_.data())),
      forks_(g_forks.load(std::memory_order_relaxed)),
      capacity_(capacity),
      mask_(capacity - 1) {
  g_live_rings.fetch_add(1, std::memory_order_relaxed);
}

Ring::~Ring() {
  std::destroy_at(header_);
  g_live_rings.fetch_sub(1, std::memory_order_relaxed);
}

std::int64_t Ring::live_rings() noexcept { return g_live_rings.load(std::memory_order_relaxed); }
std::int64_t Ring::live_leases() noexcept { return g_live_leases.load(std::memory_order_relaxed); }

std::span<const Edge> Ring::tail(std::size_t count) const noexcept {
  const std::uint64_t head = header_->head.load(std::memory_order_relaxed);  // own index
  const std::uint64_t length = std::min<std::uint64_t>({count, head, capacity_});
  return {slots_ + ((head - length) & mask_), length};
}

Lease Ring::lease(std::uint64_t from) { return pin(from, UINT64_MAX); }

Lease Ring::lease_newest(std::uint64_t count) { return pin(0, count); }

Lease Ring::pin(std::uint64_t from, std::uint64_t count) {
  const std::lock_guard lock(pins_mutex_);
  std::uint64_t end = head();
  const auto newest = [&] { return std::max(from, end - std::min(end, count)); };
  const std::uint64_t held = end > capacity_ ? end - capacity_ : 0;
  const std::uint64_t pinned = std::min(std::max(newest(), held), end);
  if (pinned == end) return Lease(shared_from_this(), end, {});  // nothing to pin

  pins_.push_back(pinned);
  publish_pins();                                                      // announce: pairs with the load in publish()
  const std::uint64_t claim = header_->claim.load(std::memory_order_seq_cst);  // the look after it
  const std::uint64_t safe = claim > capacity_ ? claim - capacity_ : 0;
  // The writer may have gone round the whole ring before it could see the pin. What it wrote meanwhile is held by the pin too,
  // so with a second look at head there is always something left: safe <= head + 1 - capacity.
  end = head();
  const std::uint64_t begin = std::max({pinned, safe, newest()});
  pins_.back() = begin;
  if (begin != pinned) publish_pins();
  return Lease(shared_from_this(), begin, {slots_ + (begin & mask_), end - begin});
}

void Ring::unpin(std::uint64_t pin) noexcept {
  if (forks_ != g_forks.load(std::memory_order_relaxed)) return;  // a child's copy: it holds nobody up
  const std::lock_guard lock(pins_mutex_);
  const auto at = std::find(pins_.begin(), pins_.end(), pin);
  *at = pins_.back();
  pins_.pop_back();
  publish_pins();
}

void Ring::publish_pins() noexcept {
  std::uint64_t oldest = kNoPin;
  for (const std::uint64_t pin : pins_) oldest = std::min(oldest, pin);
  // Give-back when it grows (release), the announcement in pin() when it falls (sequentially consistent).
  oldest_pin_.store(oldest, std::memory_order_seq_cst);
}

Lease::Lease(std::shared_ptr<Ring> ring, std::uint64_t first, std::span<const Edge> edges) noexcept
    : ring_(std::move(ring)), first_(first), edges_(edges) {
  g_live_leases.fetch_add(1, std::memory_order_relaxed);
}

Lease::Lease(Lease&& other) noexcept
    : ring_(std::move(other.ring_)), first_(other.first_), edges_(std::exchange(other.edges_, {})) {}

Lease::~Lease() {
  if (!ring_) return;  // moved from
  if (!edges_.empty()) ring_->unpin(first_);
  g_live_leases.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace powerprobe
