// SPDX-License-Identifier: MIT
// Counting events of the kernel's perf_event system call: opened on any thread, read by one thread only (the kernel
// updates an event's count with operations that are atomic against its own CPU alone, so two threads must not share a
// descriptor).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/source.hpp"

namespace powerprobe {

struct PerfEvent {
  std::uint32_t type = 0;    // which PMU: its `type` file
  std::uint64_t config = 0;  // which event of it
  int cpu = 0;
};

// Events that are read together. Each one joins the group of the one before it, so that a group costs one system call;
// one that the kernel does not let join (another CPU, another PMU, no room) leads a group of its own.
class PerfEvents {
 public:
  PerfEvents() = default;
  PerfEvents(const PerfEvents&) = delete;
  PerfEvents& operator=(const PerfEvents&) = delete;
  ~PerfEvents();

  // Opens one more event. Gives 0, or the errno of perf_event_open; the events before it are untouched by a failure.
  int add(const PerfEvent& event);

  [[nodiscard]] std::size_t size() const noexcept { return fds_.size(); }
  [[nodiscard]] std::size_t groups() const noexcept { return groups_.size(); }  // system calls per read()

  // Fills out[i] for the i-th event that was added; out.size() == size(). The kernel's count is a signed number that
  // starts at zero: it comes 2^63 higher, so that a count that falls below where it began is seen to fall.
  void read(std::span<Reading> out) noexcept;

 private:
  struct Group {
    int leader = -1;
    std::size_t size = 0;
    std::uint64_t enabled_ns = 0;     // how long the kernel says the group has been counting
    std::int64_t standing_since = 0;  // when that was first seen not to grow; 0: it grows
  };

  void read_group(Group& group, std::span<Reading> out) noexcept;

  std::vector<Group> groups_;
  std::vector<int> fds_;
  std::vector<std::uint64_t> buffer_;
};

}  // namespace powerprobe
