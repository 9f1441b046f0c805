// SPDX-License-Identifier: MIT
// What tracking costs in watts, as the counters that are tracked have it themselves: with somebody asking all the time, and with
// nobody. Only where this machine has a counter of a package.
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/mark.hpp"
#include "core/sampler.hpp"
#include "pairs.hpp"
#include "sources/survey.hpp"

namespace bench {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kAskNs = 20'000'000;

std::unique_ptr<powerprobe::Source> open_package(std::string& name) {
  const powerprobe::Survey survey = powerprobe::survey({}, powerprobe::counter_sources(), false);
  const auto choice = std::find_if(survey.choices.begin(), survey.choices.end(),
                                   [](const powerprobe::Choice& each) { return each.channel.domain == "package"; });
  if (choice == survey.choices.end()) {
    const std::string why = survey.refusals.empty() ? "nothing was found" : survey.refusals.front().reason;
    throw powerprobe::Error(powerprobe::ErrorKind::kUnavailable, "no energy counter of a package can be read here: " + why);
  }
  name = choice->channel.name;
  return std::move(powerprobe::open_sources(survey, std::vector{name}).front());
}

// A point at this moment, with edges close by whether or not somebody asked before.
powerprobe::Point point(powerprobe::Sampler& sampler, std::size_t channels) {
  const std::int64_t now = powerprobe::now_ns();
  sampler.ask_until(now + kAskNs);
  sampler.wait_in_step(now + kAskNs);
  const auto mark = std::make_shared<powerprobe::Mark>(powerprobe::now_ns(), channels);
  sampler.add(mark);
  if (!mark->wait_until(now + kSecond) || mark->slots().front().state != powerprobe::MarkState::kKnown) {
    throw std::runtime_error("the counter did not move for a second");
  }
  return mark->slots().front().point;
}

}  // namespace

int watts(int rounds) {
  std::string name;
  auto source = open_package(name);
  const std::size_t channels = source->channels().size();
  powerprobe::Sampler sampler(std::move(source), 0, {.mode = powerprobe::Mode::kTrack});
  sampler.start();
  const auto over_two_seconds = [&] {
    const powerprobe::Point begin = point(sampler, channels);
    ::usleep(2'000'000);
    const powerprobe::Point end = point(sampler, channels);
    return (end.joules - begin.joules) / (1e-9 * static_cast<double>(end.t_ns - begin.t_ns));
  };
  const auto ours = [&] {
    sampler.ask();
    const double watts = over_two_seconds();
    sampler.release();
    return watts;
  };
  pairs(rounds, name, ours, over_two_seconds);
  return 0;
}

}  // namespace bench
