// SPDX-License-Identifier: MIT
// A channel's ring of edges: fixed memory, the oldest overwritten, and leases that pin a run of edges while somebody looks.
//
// One writer thread (the sampler), any number of threads that take and give back leases. The writer never waits: if the slot
// that it needs is leased it drops the new edge and counts it. Two memory-order edges, nothing else:
//
//   publish    writer: head_.store(release)        ->  reader: head_.load(acquire)
//              who sees the new head sees the edges below it.
//   give-back  reader: oldest_pin_.store(release)  ->  writer: oldest_pin_.load(acquire)
//              who sees the pin moved on may overwrite: the reads are over.
//
// A lease must not lose the race against a writer that is about to overwrite its first slot. Both sides therefore announce
// before they look (store, then load, sequentially consistent on both sides, so at least one sees the other):
//
//   writer     claim_.store(head + 1)  then  oldest_pin_.load()   sees the pin: drops its edge
//   reader     oldest_pin_.store(pin)  then  claim_.load()        sees the claim: shrinks its lease by that slot
//
// After that the reader looks at head again: what was published until the writer saw the pin is held by it as well.
//
// tests/model/check proves it: a model of it in every interleaving (ring.pml), and this code under C++'s memory model, where each
// order stronger than relaxed has to turn out to be needed (check_code). tests/cpp/test_ring_stress.cpp runs it with real
// threads. Pins are kept in a list under a mutex that only readers take; the writer sees their minimum. Indices only grow: 64
// bits never run out.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/edge.hpp"
#include "core/mirror.hpp"

namespace powerprobe {

class Lease;

class Ring : public std::enable_shared_from_this<Ring> {
 public:
  // At least min_capacity edges; rounded up to whole pages and a power of two. Throws Error (kUnavailable) without memory.
  static std::shared_ptr<Ring> create(std::size_t min_capacity);

  // Writer thread only. False: the slot is leased, the edge was dropped and counted.
  bool publish(const Edge& edge) noexcept {
    const std::uint64_t head = head_.load(std::memory_order_relaxed);  // own index
    claim_.store(head + 1, std::memory_order_seq_cst);                 // announce: pairs with claim_.load() in pin()
    // Give-back (acquire part of seq_cst), and the look after the announcement above.
    const std::uint64_t pin = oldest_pin_.load(std::memory_order_seq_cst);
    if (head >= capacity_ && head - capacity_ >= pin) {
      // Nothing was written; a reader that saw the claim lost one slot at most. Release, so that who sees it sees this head.
      claim_.store(head, std::memory_order_release);
      dropped_.store(dropped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // statistics only
      return false;
    }
    slots_[head & mask_] = edge;
    head_.store(head + 1, std::memory_order_release);  // publish: pairs with head_.load() in head()
    return true;
  }

  // Writer thread only: the newest edges in place, at most `count`, oldest first. They stay until the next publish().
  [[nodiscard]] std::span<const Edge> tail(std::size_t count) const noexcept;

  // Any thread. Pins the edges with index >= from that the ring still holds, or the newest `count` of them.
  [[nodiscard]] Lease lease(std::uint64_t from = 0);
  [[nodiscard]] Lease lease_newest(std::uint64_t count);

  [[nodiscard]] std::uint64_t head() const noexcept { return head_.load(std::memory_order_acquire); }  // publish
  [[nodiscard]] std::uint64_t dropped() const noexcept { return dropped_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  // Before anybody else uses it. Throws Error (kPermission) when the memory may not be locked.
  void lock_memory() { memory_.lock(); }

  // Rings and leases alive in this process; tests count them.
  static std::int64_t live_rings() noexcept;
  static std::int64_t live_leases() noexcept;

  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

 private:
  friend class Lease;
  explicit Ring(std::size_t capacity);
  Lease pin(std::uint64_t from, std::uint64_t count);
  void unpin(std::uint64_t pin) noexcept;
  void publish_pins() noexcept;

  static constexpr std::uint64_t kNoPin = UINT64_MAX;

  Mirror memory_;
  Edge* slots_;
  std::size_t capacity_;
  std::uint64_t mask_;

  // The writer's line.
  alignas(64) std::atomic<std::uint64_t> head_{0};   // publish
  std::atomic<std::uint64_t> claim_{0};              // announced before the slot is looked at; head_ or head_ + 1
  std::atomic<std::uint64_t> dropped_{0};
  // The readers' line.
  alignas(64) std::atomic<std::uint64_t> oldest_pin_{kNoPin};  // give-back
  std::mutex pins_mutex_;                                      // guards pins_; never taken by the writer
  std::vector<std::uint64_t> pins_;
};

// A pinned run of published edges: they cannot change while it lives. Movable; keeps its ring alive.
class Lease {
 public:
  Lease(Lease&& other) noexcept;
  Lease& operator=(Lease&&) = delete;
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease();

  [[nodiscard]] std::span<const Edge> edges() const noexcept { return edges_; }
  [[nodiscard]] std::uint64_t first_index() const noexcept { return first_; }

 private:
  friend class Ring;
  Lease(std::shared_ptr<Ring> ring, std::uint64_t first, std::span<const Edge> edges) noexcept;

  std::shared_ptr<Ring> ring_;
  std::uint64_t first_;
  std::span<const Edge> edges_;
};

}  // namespace powerprobe
