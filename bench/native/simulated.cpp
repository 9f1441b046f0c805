// SPDX-License-Identifier: MIT
#include "simulated.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>

#include "core/clock.hpp"

namespace bench {
namespace {

using powerprobe::test::kMicro;
using powerprobe::test::kMilli;

constexpr double kJoulesPerCount = 1.0 / 16384.0;  // as on most Intel processors

// Of the stamps, as in Intel's register 0x612; their clock has an epoch of its own and is not quite as fast as ours.
constexpr double kTickNs = 10.0;
constexpr std::uint64_t kStampModulus = std::uint64_t{1} << 32;
constexpr double kEpochNs = 5e9;
constexpr double kDrift = 20e-6;

powerprobe::test::Steps offsets_named(std::string_view name, std::int64_t for_ns, unsigned seed) {
  if (name == "metronome") return powerprobe::test::grid(kMilli, 0, for_ns);
  if (name == "shaken") return powerprobe::test::grid(kMilli, 20 * kMicro, for_ns, 0, seed);
  if (name == "ice-lake" || name == "stamped") return powerprobe::test::ice_lake(for_ns, seed);
  throw std::invalid_argument("no counter steps like " + std::string(name));
}

powerprobe::test::Steps steps_named(std::string_view name, std::int64_t for_ns, unsigned seed) {
  const std::int64_t start_ns = powerprobe::now_ns();
  powerprobe::test::Steps steps{start_ns};
  for (const std::int64_t after_ns : offsets_named(name, for_ns, seed)) steps.push_back(start_ns + after_ns);
  return steps;
}

}  // namespace

Load Load::named(std::string_view name, std::int64_t start_ns, std::int64_t until_ns, unsigned seed) {
  Load load(start_ns);
  std::mt19937_64 random(seed);
  if (name == "const") {
    load.then(80.0, static_cast<double>(until_ns - start_ns));
  } else if (name == "square") {
    // For a tenth of a second each: a period of 0.3 to 30 ms, none more likely than its double.
    std::uniform_real_distribution<double> exponent(0.0, 2.0);
    while (load.end_ns_ < until_ns) {
      const double period_ns = 0.3e6 * std::pow(10.0, exponent(random));
      const std::int64_t change_ns = load.end_ns_ + 100 * kMilli;
      while (load.end_ns_ < change_ns) {
        load.then(120.0, period_ns / 2);
        load.then(20.0, period_ns / 2);
      }
    }
  } else if (name == "burst") {
    // A request now and then: bursts of a millisecond and pauses of four, on average, each as long as chance has it.
    std::exponential_distribution<double> burst_ms(1.0);
    std::exponential_distribution<double> pause_ms(0.25);
    while (load.end_ns_ < until_ns) {
      load.then(150.0, 1e6 * burst_ms(random));
      load.then(15.0, 1e6 * pause_ms(random));
    }
  } else {
    throw std::invalid_argument("no load is called " + std::string(name));
  }
  return load;
}

void Load::then(double watts, double for_ns) {
  const double joules = pieces_.empty() ? 0.0 : this->joules(end_ns_);
  pieces_.push_back({end_ns_, watts, joules});
  end_ns_ += std::llround(for_ns);
}

double Load::joules(std::int64_t t_ns) const noexcept {
  const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), t_ns,
                                      [](std::int64_t t, const Piece& piece) { return t < piece.from_ns; });
  const Piece& piece = *(after - 1);
  return piece.joules_before + piece.watts * static_cast<double>(t_ns - piece.from_ns) * 1e-9;
}

SimulatedCounter::SimulatedCounter(std::string_view steps, std::string_view load, std::int64_t for_ns, unsigned seed)
    : steps_(steps_named(steps, for_ns, seed)), load_(Load::named(load, steps_.front(), steps_.back(), seed + 1)) {
  for (const std::int64_t step_ns : steps_) counts_.push_back(static_cast<std::uint64_t>(load_.joules(step_ns) / kJoulesPerCount));
  powerprobe::ChannelInfo info;
  info.name = "package-0";
  info.source = "simulated";
  info.joules_per_count = kJoulesPerCount;
  info.update_period_ns = kMilli;
  info.stale_ns = 20 * kMilli;  // what powerprobe's RAPL sources say
  if (steps == "stamped") info.stamp_tick_ns = kTickNs;
  if (steps == "stamped") info.stamp_modulus = kStampModulus;
  info.cpu = counter_cpu();
  channels_.push_back(info);
}

void SimulatedCounter::read(std::span<powerprobe::Reading> out) noexcept {
  const std::int64_t before_ns = powerprobe::now_ns();
  const bool ok = counter_.read();
  // A register is read somewhere in the middle of the system call.
  const std::int64_t at_ns = before_ns + (powerprobe::now_ns() - before_ns) / 2;
  while (shown_ + 1 < steps_.size() && steps_[shown_ + 1] <= at_ns) ++shown_;
  if (!was_read_) first_count_ = counts_[shown_];
  was_read_ = true;
  out[0] = {.count = counts_[shown_],
            .stamp = stamp(steps_[shown_]),
            .status = ok ? powerprobe::ReadStatus::kOk : powerprobe::ReadStatus::kRetry};
}

std::uint64_t SimulatedCounter::stamp(std::int64_t step_ns) const noexcept {
  const double device_ns = kEpochNs + static_cast<double>(step_ns - steps_.front()) * (1.0 - kDrift);
  return static_cast<std::uint64_t>(device_ns / kTickNs) % kStampModulus;
}

std::int64_t SimulatedCounter::step_of(const powerprobe::Edge& edge) const {
  const std::uint64_t count = first_count_ + static_cast<std::uint64_t>(std::llround(edge.joules / kJoulesPerCount));
  const auto shown = std::lower_bound(counts_.begin(), counts_.end(), count);
  if (shown == counts_.end() || *shown != count) throw std::logic_error("an edge shows what the counter never did");
  return shown - counts_.begin();
}

double SimulatedCounter::shown_joules(std::int64_t t_ns) const noexcept {
  const auto after = std::upper_bound(steps_.begin(), steps_.end(), t_ns);
  return static_cast<double>(counts_[static_cast<std::size_t>(after - steps_.begin()) - 1]) * kJoulesPerCount;
}

}  // namespace bench
