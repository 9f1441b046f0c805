// SPDX-License-Identifier: MIT
// Reads the edges of a ring that another process writes, from the memory that both have. Nothing is pinned, because nothing may
// hold the writer up: edges are copied out, and then looked at whether the writer has meanwhile come round to them.
//
//   publish  writer: head.store(release)  ->  reader: head.load(acquire)
//            who sees the new head sees the edges below it
//   torn     writer: claim.store(head + 1), then the slot, word by word, each store(release)
//              ->  reader: the slot, word by word, each load(acquire), then claim.load()
//            who has read a word of the new edge sees the claim, and throws away what it copied
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "core/edge.hpp"
#include "core/ring.hpp"

namespace powerprobe {

// One thread. In the process of the ring's writer it is as right, but a Lease is what readers there want.
class RingReader {
 public:
  // Starts with the oldest edge that is there. Keeps the ring, and so its memory, alive.
  explicit RingReader(std::shared_ptr<const Ring> ring) noexcept;

  // The next edges, at most out.size(); those that were overwritten before they could be read are counted in lost().
  std::size_t read(std::span<Edge> out) noexcept;

  [[nodiscard]] std::uint64_t lost() const noexcept { return lost_; }
  [[nodiscard]] const RingHeader& header() const noexcept { return ring_->header(); }

 private:
  [[nodiscard]] std::uint64_t oldest() const noexcept;

  std::shared_ptr<const Ring> ring_;
  std::uint64_t next_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace powerprobe
