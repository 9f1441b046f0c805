// SPDX-License-Identifier: MIT
#include "core/cadence.hpp"

#include <algorithm>
#include <cmath>

namespace powerprobe {
namespace {

constexpr double kForget = 1.0 / 16.0;

}  // namespace

void Cadence::step(std::int64_t t_ns, bool consecutive) noexcept {
  std::int64_t number = 0;
  if (count_ > 0) {
    const std::int64_t passed = steps_between(t_ns, consecutive);
    for (Way* way : {&from_last_, &from_line_}) {
      const double forecast = way->offset_ns + static_cast<double>(passed) * way->period_ns;
      const double error = std::abs(static_cast<double>(t_ns - last_ns()) - forecast);
      if (is_learned()) way->error_ns += kForget * (error - way->error_ns);
    }
    if (consecutive && !is_regular()) {
      pairs_ = std::min(pairs_ + 1, kWindow);
      period_ns_ += (static_cast<double>(t_ns - last_ns()) - period_ns_) / static_cast<double>(pairs_);
    }
    number = steps_[newest_].number + passed;
  }
  newest_ = (newest_ + 1) % kWindow;
  steps_[newest_] = {t_ns, number};
  count_ = std::min(count_ + 1, kWindow);
  fit();
}

std::int64_t Cadence::steps_between(std::int64_t t_ns, bool consecutive) const noexcept {
  const std::int64_t nearest = std::max(1L, std::lround(static_cast<double>(t_ns - last_ns()) / period_ns_));
  // A counter at rest lets steps out; only where they are regular can that be told from one long step.
  return consecutive && !is_regular() ? 1 : nearest;
}

void Cadence::fit() noexcept {
  from_last_.offset_ns = 0.0;
  from_last_.period_ns = from_line_.period_ns = period_ns_;
  // Of (number, time), both from the newest step, so that nothing large is squared.
  double numbers = 0.0, times = 0.0, squares = 0.0, products = 0.0;
  for (std::size_t i = 0; i < count_; ++i) {
    const Step& step = steps_[(newest_ + kWindow - i) % kWindow];
    const auto number = static_cast<double>(step.number - steps_[newest_].number);
    const auto time = static_cast<double>(step.t_ns - steps_[newest_].t_ns);
    numbers += number;
    times += time;
    squares += number * number;
    products += number * time;
  }
  const auto count = static_cast<double>(count_);
  if (count_ >= kEnough) {
    const Step& oldest = steps_[(newest_ + kWindow + 1 - count_) % kWindow];
    from_line_.period_ns = (count * products - numbers * times) / (count * squares - numbers * numbers);
    from_last_.period_ns =
        static_cast<double>(last_ns() - oldest.t_ns) / static_cast<double>(steps_[newest_].number - oldest.number);
  }
  from_line_.offset_ns = (times - from_line_.period_ns * numbers) / count;
  if (!is_regular()) return;
  was_regular_ = true;
  period_ns_ = believed().period_ns;
}

std::int64_t Cadence::next_ns(std::int64_t t_ns) const noexcept {
  const Way& way = believed();
  const double since = static_cast<double>(t_ns - last_ns()) - way.offset_ns;
  const double number = std::max(1.0, std::floor(since / way.period_ns) + 1.0);
  return last_ns() + std::llround(way.offset_ns + number * way.period_ns);
}

std::int64_t Cadence::nearest_ns(std::int64_t t_ns) const noexcept {
  const Way& way = believed();
  const double number = std::round((static_cast<double>(t_ns - last_ns()) - way.offset_ns) / way.period_ns);
  return last_ns() + std::llround(way.offset_ns + number * way.period_ns);
}

}  // namespace powerprobe
