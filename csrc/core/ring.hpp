// SPDX-License-Identifier: MIT
// A channel's ring of edges: fixed memory, the oldest overwritten, and leases that pin a run of edges while somebody looks.
//
// One writer thread (the sampler), any number of threads that take and give back leases. The writer never waits: if the slot
// that it needs is leased it drops the new edge and counts it. Two memory-order edges, nothing else:
//
//   publish    writer: head.store(release)         ->  reader: head.load(acquire)
//              who sees the new head sees the edges below it.
//   give-back  reader: oldest_pin_.store(release)  ->  writer: oldest_pin_.load(acquire)
//              who sees the pin moved on may overwrite: the reads are over.
//
// A lease must not lose the race against a writer that is about to overwrite its first slot. Both sides therefore announce
// before they look (store, then load, sequentially consistent on both sides, so at least one sees the other):
//
//   writer     claim.store(head + 1)  then  oldest_pin_.load()   sees the pin: drops its edge
//   reader     oldest_pin_.store(pin)  then  claim.load()        sees the claim: shrinks its lease by that slot
//
// After that the reader looks at head again: what was published until the writer saw the pin is held by it as well.
//
// Other processes read what stands in the shared memory, the header and the slots, without a pin: ring_reader.hpp.
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
#include "core/ring_header.hpp"

namespace powerprobe {

class Lease;

class Ring : public std::enable_shared_from_this<Ring> {
 public:
  // At least min_capacity edges; rounded up to whole pages and a power of two. Throws Error (kUnavailable) without memory.
  static std::shared_ptr<Ring> create(std::size_t min_capacity);

  // Writer thread only. False: the slot is leased, the edge was dropped and counted.
  bool publish(const Edge& edge) noexcept {
    const std::uint64_t head = header_->head.load(std::memory_order_relaxed);  // own index
    // Announce: pairs with claim.load() in pin(), and in RingReader.
    header_->claim.store(head + 1, std::memory_order_seq_cst);
    // Give-back (acquire part of seq_cst), and the look after the announcement above.
    const std::uint64_t pin = oldest_pin_.load(std::memory_order_seq_cst);
    if (head >= capacity_ && head - capacity_ >= pin) {
      // Nothing was written; a reader that saw the claim lost one slot at most. Release, so that who sees it sees this head.
      header_->claim.store(head, std::memory_order_release);
      header_->dropped.store(dropped() + 1, std::memory_order_relaxed);
      return false;
    }
    put(slots_[head & mask_], edge);
    header_->head.store(head + 1, std::memory_order_release);  // publish: pairs with head.load() in head()
    return true;
  }

  // Writer thread only: the newest edges in place, at most `count`, oldest first. They stay until the next publish().
  [[nodiscard]] std::span<const Edge> tail(std::size_t count) const noexcept;

  // Any thread. Pins the edges with index >= from that the ring still holds, or the newest `count` of them.
  [[nodiscard]] Lease lease(std::uint64_t from = 0);
  [[nodiscard]] Lease lease_newest(std::uint64_t count);

  [[nodiscard]] std::uint64_t head() const noexcept { return header_->head.load(std::memory_order_acquire); }  // publish
  [[nodiscard]] std::uint64_t dropped() const noexcept { return header_->dropped.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

  // What other processes see of it as well. head, claim and dropped are publish()'s; the rest is the recorder's.
  [[nodiscard]] RingHeader& header() noexcept { return *header_; }
  [[nodiscard]] const RingHeader& header() const noexcept { return *header_; }
  [[nodiscard]] const Edge* slots() const noexcept { return slots_; }

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
  RingHeader* header_;  // in memory_
  Edge* slots_;         // the same
  std::int32_t forks_;  // of which process it is, see ring.cpp
  std::size_t capacity_;
  std::uint64_t mask_;

  // The readers' line. Not in the shared memory: no other process may hold up the writer.
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
