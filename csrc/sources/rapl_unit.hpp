// SPDX-License-Identifier: MIT
// Finding out how many counts of a perf event make one unit of the RAPL register behind it. Used while opening.
#pragma once

#include <cstdint>

namespace powerprobe {

// The kernel tells joules per count and not the hardware's unit, yet every count is a multiple of that unit: 2^(32-ESU)
// in arch/x86/events/rapl.c, any whole number in intel_rapl_common.c (TPMI). So it is the greatest common divisor of
// what is seen.
class RaplUnit {
 public:
  void see(std::uint64_t count) noexcept;
  void merge(const RaplUnit& other) noexcept;  // what was seen of another counter with the same unit

  [[nodiscard]] int moves() const noexcept { return moves_; }

  // 2^32 units in counts: by so much a count falls when the kernel lost a wrap. 0 when not known: too few moves, or
  // nothing that a RAPL unit can be.
  [[nodiscard]] std::uint64_t modulus(double joules_per_count) const noexcept;

  // The unit in joules or a multiple of it, never less: all that moved so far moved by multiples of this. 0: nothing
  // moved.
  [[nodiscard]] double largest(double joules_per_count) const noexcept {
    return static_cast<double>(divisor_) * joules_per_count;
  }

  // Of n moves the divisor is twice the unit with a probability of 2^-n (a wrong one turns a wrap into a reset, no
  // more).
  static constexpr int kFewMoves = 4;    // with fewer nothing is known
  static constexpr int kManyMoves = 20;  // more are not worth waiting for

 private:
  bool first_ = true;
  std::uint64_t last_ = 0;
  std::uint64_t divisor_ = 0;
  int moves_ = 0;
};

}  // namespace powerprobe
