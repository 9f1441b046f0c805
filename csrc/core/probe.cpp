// SPDX-License-Identifier: MIT
#include "core/probe.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <string>
#include <system_error>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"

namespace powerprobe {
namespace {

std::string milliseconds(std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f ms", static_cast<double>(ns) * 1e-6);
  return text;
}

}  // namespace

Probe::Probe(std::vector<std::unique_ptr<Source>> sources, const SamplerOptions& options) : options_(options) {
  std::map<std::string, std::shared_ptr<Runner>> runners;  // those that several samplers share, by Source::thread()
  for (auto& source : sources) {
    const std::string thread(source->thread());
    auto runner = thread.empty() ? std::make_shared<Runner>() : runners[thread];
    if (!runner) runner = runners[thread] = std::make_shared<Runner>();
    const std::size_t first = channels_.size();
    const auto& channels = source->channels();
    channels_.insert(channels_.end(), channels.begin(), channels.end());
    for (std::size_t i = 0; i < channels.size(); ++i) places_.push_back({samplers_.size(), i});
    may_hang_.push_back(!thread.empty());
    samplers_.push_back(std::make_unique<Sampler>(std::move(source), first, options, std::move(runner)));
  }
}

std::unique_ptr<Probe> Probe::heir() const {
  std::vector<std::unique_ptr<Source>> sources;
  for (const auto& sampler : samplers_) sources.push_back(sampler->heir(process_));
  auto heir = std::make_unique<Probe>(std::move(sources), options_);
  heir->parent_ = process_;
  return heir;
}

void Probe::start() {
  for (auto& sampler : samplers_) sampler->start();
  running_pid_.store(::getpid(), std::memory_order_relaxed);
}

void Probe::stop() noexcept {
  running_pid_.store(0, std::memory_order_relaxed);
  for (auto& sampler : samplers_) sampler->stop();
}

bool Probe::is_running() const noexcept { return running_pid_.load(std::memory_order_relaxed) == ::getpid(); }

void Probe::ask() noexcept {
  for (auto& sampler : samplers_) sampler->ask();
}

void Probe::release() noexcept {
  for (auto& sampler : samplers_) sampler->release();
}

void Probe::ask_until(std::int64_t t_ns) noexcept {
  for (auto& sampler : samplers_) sampler->ask_until(t_ns);
}

void Probe::watch(std::int64_t since_ns) noexcept {
  for (auto& sampler : samplers_) sampler->watch(since_ns);
}

void Probe::unwatch() noexcept {
  for (auto& sampler : samplers_) sampler->unwatch();
}

void Probe::wait_in_step(std::int64_t deadline_ns) noexcept {
  for (std::size_t i = 0; i < samplers_.size(); ++i) {
    if (!may_hang_[i]) samplers_[i]->wait_in_step(deadline_ns);
  }
}

void Probe::set_mode(Mode mode, std::int64_t period_ns) noexcept {
  for (auto& sampler : samplers_) sampler->set_mode(mode, period_ns);
}

std::shared_ptr<const Mark> Probe::mark(std::int64_t t_ns) {
  if (!is_running()) {
    throw Error(ErrorKind::kUnavailable, "the probe is not running", {}, 0, "start it, or use it inside its with block");
  }
  auto mark = std::make_shared<Mark>(t_ns, channels_.size());
  for (auto& sampler : samplers_) sampler->add(mark);
  return mark;
}

Lease Probe::lease_newest(std::size_t channel, std::uint64_t count) const {
  const Place place = places_[channel];
  return samplers_[place.sampler]->ring(place.channel)->lease_newest(count);
}

Lease Probe::lease_from(std::size_t channel, std::uint64_t index) const {
  const Place place = places_[channel];
  return samplers_[place.sampler]->ring(place.channel)->lease(index);
}

ChannelStats Probe::channel_stats(std::size_t channel) const noexcept {
  const Place place = places_[channel];
  return samplers_[place.sampler]->channel_stats(place.channel);
}

PaceStats Probe::pace_stats(std::size_t channel) const noexcept {
  const Place place = places_[channel];
  return samplers_[place.sampler]->pace_stats(place.channel);
}

namespace {

// A guide that has not told for so long (of a read that hangs) will not.
constexpr std::int64_t kGiveUpNs = 1'000'000'000;

// Also where there is no edge behind the instant yet.
Point unsettled_point(std::span<const Edge> edges, const EnergyModel& model, std::int64_t t_ns,
                      std::span<const Edge> guide) noexcept {
  const bool is_known = t_ns <= known_until_ns(edges, INT64_MAX);
  return is_known ? point_at(edges, model, t_ns, guide) : point_beyond(edges, model, t_ns);
}

}  // namespace

const Recorder& Probe::recorder(std::size_t channel) const noexcept {
  const Place place = places_[channel];
  return samplers_[place.sampler]->recorder(place.channel);
}

Probe::Pinned Probe::pin(std::size_t channel) const {
  const Recorder& counter = recorder(channel);
  Pinned pinned{lease_newest(channel, UINT64_MAX), std::nullopt, INT64_MAX};
  if (const Recorder* const guide = counter.guide()) {
    pinned.guide_lease.emplace(guide->ring()->lease());
    if (is_running()) pinned.settled_ns = std::max(counter.settled_ns(pinned.guide()), now_ns() - kGiveUpNs);
  }
  return pinned;
}

std::int64_t Probe::known_until_ns(std::size_t channel) const {
  // Who only wants to know this must not keep the sampler from storing edges.
  if (recorder(channel).guide() == nullptr) return powerprobe::known_until_ns(lease_newest(channel, 2).edges(), INT64_MAX);
  const Pinned pinned = pin(channel);
  return powerprobe::known_until_ns(pinned.edges(), pinned.settled_ns);
}

Energy Probe::energy_until(std::size_t channel, const Mark& start, std::int64_t end_ns) const {
  const Pinned pinned = pin(channel);
  const auto edges = pinned.edges();
  const EnergyModel model = EnergyModel::of(channels_[channel]);
  const bool is_settled = start.is_done(channel) && start.slots()[channel].state == MarkState::kKnown;
  if (edges.empty() || (!is_settled && start.t_ns() < first_answerable_ns(edges))) {
    throw Error(ErrorKind::kOutOfRange, channels_[channel].name + " was not read at the begin of this measurement");
  }
  const Point begin =
      is_settled ? start.slots()[channel].point : unsettled_point(edges, model, start.t_ns(), pinned.guide());
  return energy_between(begin, unsettled_point(edges, model, end_ns, pinned.guide()), model);
}

Probe::Between Probe::between(std::size_t channel, const Mark& begin, const Mark& end) const noexcept {
  const Mark::Slot& from = begin.slots()[channel];
  const Mark::Slot& to = end.slots()[channel];
  if (from.state != MarkState::kKnown) return {from.state, {}};
  if (to.state != MarkState::kKnown) return {to.state, {}};
  Energy energy = energy_between(from.point, to.point, EnergyModel::of(channels_[channel]));
  if (to.wraps > from.wraps) energy.flags |= kEdgeWrapped;
  if (to.dropped > from.dropped) energy.flags |= kEdgeDropped;
  return {MarkState::kKnown, energy};
}

std::string Probe::trouble(std::size_t channel) const {
  const ChannelStats stats = channel_stats(channel);
  if (stats.health == ReadStatus::kOk || stats.error == 0) return {};
  return std::string("reading it ") + (stats.error == ETIMEDOUT ? "hangs" : "fails") + " (" +
         std::generic_category().message(stats.error) + ")";
}

std::optional<Energy> Probe::energy_near(std::size_t channel, std::int64_t start_ns, std::int64_t end_ns) const {
  constexpr std::uint64_t kNear = 256;
  const Recorder& counter = recorder(channel);
  if (counter.guide() != nullptr || end_ns < start_ns) return std::nullopt;
  const Lease lease = lease_newest(channel, kNear);
  const auto edges = lease.edges();
  const std::size_t before = lease.first_index() > 0 ? 2 : 0;  // where an edge stands depends on the two before it (series.hpp)
  if (edges.size() < before + 2 || start_ns < edges[before].t_ns || end_ns > last_answerable_ns(edges)) return std::nullopt;
  return energy_in(edges, EnergyModel::of(channels_[channel]), start_ns, end_ns,
                   counter.has_rare_since(lease.first_index()));
}

void Probe::energies(std::size_t channel, std::span<const std::int64_t> starts, std::span<const std::int64_t> ends,
                     Energies out, bool unsettled) const {
  if (starts.empty()) return;
  const std::string& name = channels_[channel].name;
  const IntervalsRange range = intervals_range(starts, ends);
  if (range.backwards >= 0) {
    throw Error(ErrorKind::kBadArgument,
                "interval " + std::to_string(range.backwards) + " ends before it starts (ends < starts)");
  }
  const Pinned pinned = pin(channel);
  const auto edges = pinned.edges();
  if (edges.empty()) throw Error(ErrorKind::kOutOfRange, name + " has not been read yet");
  if (range.first_ns < first_answerable_ns(edges)) {
    if (pinned.lease.first_index() > 0) {
      throw Error(ErrorKind::kOverrun,
                  name + ": an interval starts " + milliseconds(first_answerable_ns(edges) - range.first_ns) +
                      " before the oldest edge that the ring still holds",
                  {}, 0, "ask sooner, or make the probe with a longer history");
    }
    throw Error(ErrorKind::kOutOfRange,
                name + ": an interval starts " + milliseconds(first_answerable_ns(edges) - range.first_ns) +
                    " before the first reading of this probe");
  }
  const std::int64_t known_ns = powerprobe::known_until_ns(edges, pinned.settled_ns);
  if (range.last_ns > known_ns) {
    const std::int64_t ended_ns = channel_stats(channel).ended_ns;
    if (ended_ns != INT64_MAX) {
      throw Error(ErrorKind::kGone, name + " ended " + milliseconds(now_ns() - ended_ns) +
                                        " ago; energy is known until " +
                                        milliseconds(range.last_ns - known_ns) + " before an interval's end");
    }
    if (unsettled) {  // who asks before the edge behind an end has few questions: each by itself
      for (std::size_t i = 0; i < starts.size(); ++i) {
        const EnergyModel model = EnergyModel::of(channels_[channel]);
        const Energy energy = energy_between(unsettled_point(edges, model, starts[i], pinned.guide()),
                                             unsettled_point(edges, model, ends[i], pinned.guide()), model);
        out.joules[i] = energy.joules;
        out.lower[i] = energy.lower;
        out.upper[i] = energy.upper;
        if (!out.flags.empty()) out.flags[i] = energy.flags;
      }
      return;
    }
    throw Error(ErrorKind::kOutOfRange, name + ": an interval ends " +
                                            milliseconds(range.last_ns - known_ns) +
                                            " after the newest edge");
  }
  const bool rare = recorder(channel).has_rare_since(pinned.lease.first_index());
  energies_between(edges, EnergyModel::of(channels_[channel]), starts, ends, range.sorted, out, rare, pinned.guide());
}

}  // namespace powerprobe
