// SPDX-License-Identifier: MIT
#include "sources/rapl_unit.hpp"

#include <numeric>

namespace powerprobe {
namespace {

// RAPL units are 2^-ESU joules: 2^-16 is the finest in use, 1 J (psys of Sapphire Rapids) the coarsest.
constexpr double kFinestUnit = 1.0 / (1 << 20);

}  // namespace

void RaplUnit::see(std::uint64_t count) noexcept {
  // A fall is a multiple of the unit as well.
  const auto step = static_cast<std::int64_t>(count - last_);
  last_ = count;
  if (first_ || step == 0) {
    first_ = false;
    return;
  }
  divisor_ = std::gcd(divisor_, step < 0 ? 0 - static_cast<std::uint64_t>(step) : static_cast<std::uint64_t>(step));
  ++moves_;
}

void RaplUnit::merge(const RaplUnit& other) noexcept {
  divisor_ = std::gcd(divisor_, other.divisor_);
  moves_ += other.moves_;
}

std::uint64_t RaplUnit::modulus(double joules_per_count) const noexcept {
  constexpr std::uint64_t kRegister = std::uint64_t{1} << 32;
  if (moves_ < kFewMoves || largest(joules_per_count) < kFinestUnit) return 0;
  // Does not fit into 64 bits: a unit of 1 J, whose register lasts for 49 days at 1 kW.
  if (divisor_ >= kRegister / 2) return 0;
  return divisor_ * kRegister;
}

}  // namespace powerprobe
