// SPDX-License-Identifier: MIT
// One measurement of ten seconds, nothing else asked: CPU time of the sampler's thread, from before it is asked until both ends are
// known. Several samplers measure at the same time, each beginning a quarter of a second after the one before.
#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/mark.hpp"
#include "core/sampler.hpp"
#include "counter.hpp"
#include "pairs.hpp"
#include "simulated.hpp"

namespace bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kLengthNs = 10 * kSecond;
constexpr std::int64_t kStaggerNs = kSecond / 4;
constexpr std::int64_t kAskNs = 20'000'000;

void sleep_until(std::int64_t t_ns) {
  if (const std::int64_t left_ns = t_ns - powerprobe::now_ns(); left_ns > 0) ::usleep(static_cast<useconds_t>(left_ns / 1000));
}

class Measurement {
 public:
  Measurement(std::string_view steps, std::int64_t for_ns, unsigned seed)
      : source_(std::make_unique<SimulatedCounter>(steps, "square", for_ns, seed)), counter_(*source_),
        sampler_(std::move(source_), 0, {.mode = powerprobe::Mode::kTrack}) {
    sampler_.start();
  }

  void begin() {
    cpu_ns_ = sampler_.stats().cpu_ns;
    const std::int64_t now = powerprobe::now_ns();
    sampler_.ask_until(now + kAskNs);
    sampler_.wait_in_step(now + kAskNs);
    begin_ = mark();
  }

  // The kernel may still add up what the thread did, so its time is read a moment later.
  void end() {
    end_ = mark();
    if (!end_->wait_until(powerprobe::now_ns() + kSecond)) throw std::runtime_error("no edge came for a second");
    ::usleep(10'000);
    cpu_ns_ = sampler_.stats().cpu_ns - cpu_ns_;
  }

  void print() const {
    const powerprobe::Mark::Slot& start = begin_->slots().front();
    const powerprobe::Mark::Slot& end = end_->slots().front();
    if (start.state != powerprobe::MarkState::kKnown || end.state != powerprobe::MarkState::kKnown) {
      throw std::runtime_error("a mark was not filled in");
    }
    const powerprobe::Energy energy =
        powerprobe::energy_between(start.point, end.point, powerprobe::EnergyModel::of(counter_.channels().front()));
    const double truth = counter_.true_joules(end_->t_ns()) - counter_.true_joules(begin_->t_ns());
    std::printf("{\"cpu_share\": %.4g, \"error_percent\": %.4g, \"width_percent\": %.4g, \"outside\": %d}\n",
                static_cast<double>(cpu_ns_) / static_cast<double>(end_->t_ns() - begin_->t_ns()),
                100.0 * std::abs(energy.joules - truth) / truth, 100.0 * (energy.upper - energy.lower) / truth,
                truth < energy.lower || truth > energy.upper ? 1 : 0);
  }

  [[nodiscard]] const SimulatedCounter& counter() const { return counter_; }

 private:
  std::shared_ptr<const powerprobe::Mark> mark() {
    auto mark = std::make_shared<powerprobe::Mark>(powerprobe::now_ns(), 1);
    sampler_.add(mark);
    return mark;
  }

  std::unique_ptr<SimulatedCounter> source_;  // until the sampler has it
  const SimulatedCounter& counter_;
  powerprobe::Sampler sampler_;
  std::int64_t cpu_ns_ = 0;
  std::shared_ptr<const powerprobe::Mark> begin_, end_;
};

}  // namespace

int measure_10s(int rounds, std::string_view steps) {
  stay_on_one_cpu();
  if (rounds * kStaggerNs > kLengthNs / 2) throw std::invalid_argument("at most 20 measurements at the same time");
  std::vector<std::unique_ptr<Measurement>> all;
  for (int i = 0; i < rounds; ++i) {
    all.push_back(std::make_unique<Measurement>(steps, kLengthNs + 10 * kSecond, static_cast<unsigned>(i)));
  }
  const std::int64_t start_ns = powerprobe::now_ns() + kStaggerNs;
  for (std::size_t i = 0; i < all.size(); ++i) {
    sleep_until(start_ns + static_cast<std::int64_t>(i) * kStaggerNs);
    all[i]->begin();
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    sleep_until(start_ns + static_cast<std::int64_t>(i) * kStaggerNs + kLengthNs);
    all[i]->end();
  }
  std::printf("{\"what\": \"%s\"}\n", all.front()->counter().what().c_str());
  for (const auto& measurement : all) measurement->print();
  return 0;
}

}  // namespace bench
