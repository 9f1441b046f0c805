// SPDX-License-Identifier: MIT
// Energy from power readings: what a display of watts says of the joules behind it. Pure arithmetic; used by a board's reader.
//
// A sensor shows a reading for one period, and each reading is the mean over the window before it was shown. So the middle of
// what it is about lies (window + period) / 2 before the middle of the time for which it is shown, and the integral of the
// display up to x is the energy up to x - (window + period) / 2. Where the window is as long as the period that is exact at each
// change. Where it is shorter, the readings get the weights that the trapezoid rule gives them; where it is longer, the energy
// is that of the power smoothed over the window. What that cannot tell stands in the bounds (ChannelInfo::spill_joules,
// blind_joules).
#pragma once

#include <cstdint>

namespace powerprobe {

// Where the energy has come to, and when. News only if `is_news`.
struct EnergyNews {
  bool is_news = false;
  std::int64_t at_ns = 0;
  std::uint64_t microjoules = 0;
};

// Counts are microjoules and not the picojoules (milliwatts times nanoseconds) that are added up: 64 bits of nanojoules would be
// full after 80 days of a board with 2.7 kW.
class Energy {
 public:
  void add(std::uint64_t power_mw, std::int64_t time_ns) noexcept {
    // In kilowatts and the rest, so that no product leaves 64 bits: good for five hours at a time.
    const std::uint64_t picojoules = picojoules_ + power_mw % kPerMicrojoule * static_cast<std::uint64_t>(time_ns);
    microjoules_ += power_mw / kPerMicrojoule * static_cast<std::uint64_t>(time_ns) + picojoules / kPerMicrojoule;
    picojoules_ = picojoules % kPerMicrojoule;
  }
  [[nodiscard]] std::uint64_t microjoules() const noexcept { return microjoules_; }

 private:
  static constexpr std::uint64_t kPerMicrojoule = 1'000'000;
  std::uint64_t microjoules_ = 0;
  std::uint64_t picojoules_ = 0;  // what is left, less than a microjoule
};

// Of a display that is looked at now and then.
class DisplayIntegral {
 public:
  DisplayIntegral(std::int64_t period_ns, std::int64_t window_ns) noexcept
      : period_ns_(period_ns), back_ns_((period_ns + window_ns) / 2) {}

  // The display showed so much at some moment from before_ns to after_ns. If it showed something else at the look before, the
  // change is taken at the middle between the two looks, and that is the news: between changes energy is a straight line. After a
  // long time in which nobody looked the energy begins at 0 again: a counter that was reset.
  EnergyNews look(std::uint64_t power_mw, std::int64_t before_ns, std::int64_t after_ns) noexcept {
    const std::int64_t now_ns = before_ns + (after_ns - before_ns) / 2;
    if (!started_) {
      started_ = true;
      power_mw_ = power_mw;
      seen_ns_ = now_ns;
      return tell(now_ns);
    }
    if (now_ns <= seen_ns_) return {};
    if (now_ns - seen_ns_ > kHeldPeriods * period_ns_) {  // nobody asked: what it showed meanwhile is not known
      energy_ = {};
      power_mw_ = power_mw;
      seen_ns_ = now_ns;
      return tell(now_ns);
    }
    EnergyNews news;
    if (power_mw != power_mw_) {
      const std::int64_t change_ns = seen_ns_ + (now_ns - seen_ns_) / 2;
      go_to(change_ns);
      power_mw_ = power_mw;
      if (change_ns > told_ns_) news = tell(change_ns);
      go_to(now_ns);
    } else {
      go_to(now_ns);
      if (now_ns - told_ns_ >= period_ns_) news = tell(now_ns);
    }
    return news;
  }

 private:
  void go_to(std::int64_t t_ns) noexcept {
    energy_.add(power_mw_, t_ns - seen_ns_);
    seen_ns_ = t_ns;
  }
  EnergyNews tell(std::int64_t t_ns) noexcept {
    told_ns_ = t_ns;
    return {.is_news = true, .at_ns = t_ns - back_ns_, .microjoules = energy_.microjoules()};
  }

  static constexpr std::int64_t kHeldPeriods = 10;

  std::int64_t period_ns_;
  std::int64_t back_ns_;
  bool started_ = false;
  std::uint64_t power_mw_ = 0;
  std::int64_t seen_ns_ = 0;
  std::int64_t told_ns_ = 0;
  Energy energy_;
};

// Of readings that come each with the time at which it was made: the trapezoid rule over the middles of their windows.
class BufferIntegral {
 public:
  BufferIntegral(std::int64_t distance_ns, std::int64_t window_ns) noexcept : distance_ns_(distance_ns), back_ns_(window_ns / 2) {}

  // A reading made at t_ns. One that is not later than the one before is no news.
  EnergyNews add(std::uint64_t power_mw, std::int64_t t_ns) noexcept {
    if (started_ && t_ns <= last_ns_) return {};
    if (started_ && t_ns - last_ns_ > kHeldPeriods * distance_ns_) {  // as above: the driver keeps only so many
      energy_ = {};
    } else if (started_) {
      const std::int64_t middle_ns = last_ns_ + (t_ns - last_ns_) / 2;
      energy_.add(power_mw_, middle_ns - last_ns_);
      energy_.add(power_mw, t_ns - middle_ns);
    }
    started_ = true;
    power_mw_ = power_mw;
    last_ns_ = t_ns;
    return {.is_news = true, .at_ns = t_ns - back_ns_, .microjoules = energy_.microjoules()};
  }

 private:
  static constexpr std::int64_t kHeldPeriods = 10;

  std::int64_t distance_ns_;
  std::int64_t back_ns_;
  bool started_ = false;
  std::uint64_t power_mw_ = 0;
  std::int64_t last_ns_ = 0;
  Energy energy_;
};

}  // namespace powerprobe
