// SPDX-License-Identifier: MIT
// What stands before the edges in a ring's shared memory, so that other processes can read it: where the writer is, and whether
// there still is one. Written by the writer's process alone.
#pragma once

#include <atomic>
#include <cstdint>

namespace powerprobe {

struct RingHeader {
  // The writer's line. head and claim: see ring.hpp and ring_reader.hpp.
  alignas(64) std::atomic<std::uint64_t> head{0};
  std::atomic<std::uint64_t> claim{0};    // announced before the slot is looked at; head or head + 1
  std::atomic<std::uint64_t> dropped{0};  // relaxed: statistics

  // What the recorder says of its channel. Relaxed where it says nothing else, for an answer may be given just before they change.
  //   over  writer: its last edge, then ended_ns or is_written, store(release)  ->  reader: load(acquire), then head
  //         who sees that it is over sees all edges that there will ever be
  alignas(64) std::atomic<std::int64_t> read_ns{0};  // end of the last reading, good or not
  std::atomic<std::int64_t> ended_ns{INT64_MAX};     // when the channel ended; over
  std::atomic<std::uint64_t> health{0};              // ReadStatus in the low byte, errno above; for people
  std::atomic<bool> is_written{false};               // a thread goes on looking at the counter; over
};

}  // namespace powerprobe
