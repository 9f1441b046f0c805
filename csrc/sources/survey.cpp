// SPDX-License-Identifier: MIT
#include "sources/survey.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <thread>
#include <utility>

#include "core/clock.hpp"
#include "core/error.hpp"
#include "core/unwrap.hpp"
#include "core/within.hpp"
#include "core/without_signals.hpp"
#include "sources/cpu_model.hpp"
#include "sources/domains.hpp"
#include "sources/nvml.hpp"
#include "sources/rapl_msr.hpp"
#include "sources/rapl_perf.hpp"
#include "sources/rapl_powercap.hpp"

namespace powerprobe {
namespace {

struct Finder {
  std::string name;
  void (*find)(const Roots&, const Wanted&, Found&);
};

// In order of standing: where two cost about the same, the earlier one is taken.
const std::vector<Finder>& finders() {
  static const std::vector<Finder> kFinders = {
      {"rapl_perf", find_rapl_perf},
      {"rapl_msr", find_rapl_msr},
      {"rapl_powercap", find_rapl_powercap},
      {"nvml", find_nvml},
      {estimate_source(), find_cpu_model},
  };
  return kFinders;
}

// Each source object is polled without a pause for this long, to see what a reading costs and how often its counters move
// (RAPL: about every millisecond), ...
constexpr std::int64_t kPollNs = 12'000'000;
// ... and then all of them in turn, so that two ways to one counter can be compared over the same time.
constexpr std::int64_t kCompareNs = 60'000'000;
constexpr std::int64_t kComparePauseNs = 1'000'000;
// Two steps of the counter at each end, as a share of what is counted meanwhile, is all that two honest readers can differ by;
// beyond that a few percent are for different units in the kernel's drivers (0.3 % seen).
constexpr double kTolerance = 0.03;
// Sources whose readings may hang are read once, and that must be over in so long.
constexpr auto kSingleTime = std::chrono::seconds(2);
// Costs closer than this are the same.
constexpr double kSameCost = 1.2;

struct Watched {
  explicit Watched(const ChannelInfo& channel)
      : info(&channel),
        unwrapper(channel.modulus, channel.joules_per_count, channel.max_watts, channel.stale_ns) {}

  void take(const Reading& reading, std::int64_t t_ns) {
    if (reading.status == ReadStatus::kNoNews) {
      ++readings;
      return;
    }
    if (reading.status != ReadStatus::kOk) {
      ++failures;
      return;
    }
    ++readings;
    switch (unwrapper.feed(reading.count, t_ns)) {
      case Step::kFirst:
      case Step::kStill:
        break;
      case Step::kReset:
        ++resets;
        break;
      case Step::kPlain:
      case Step::kWrapped:
        if (moves++ == 0) first_move_ns = t_ns;
        last_move_ns = t_ns;
        break;
    }
  }
  void see_period() {
    if (moves > 1) seen_period_ns = (last_move_ns - first_move_ns) / (moves - 1);
  }
  [[nodiscard]] double joules() const { return static_cast<double>(unwrapper.total()) * info->joules_per_count; }
  [[nodiscard]] bool is_right() const { return !hangs && readings > 0 && failures == 0 && resets == 0; }

  const ChannelInfo* info;
  Unwrapper unwrapper;
  std::int64_t readings = 0;
  std::int64_t failures = 0;
  bool hangs = false;
  std::int64_t resets = 0;
  std::int64_t moves = 0;
  std::int64_t first_move_ns = 0;
  std::int64_t last_move_ns = 0;
  double compared_joules = 0.0;
  std::int64_t seen_period_ns = 0;
};

struct Candidate {
  explicit Candidate(std::unique_ptr<Source> opened) : source(std::move(opened)), readings(source->channels().size()) {
    for (const ChannelInfo& channel : source->channels()) watched.emplace_back(channel);
  }

  std::int64_t read() {
    const std::int64_t before = now_ns();
    source->read(readings);
    const std::int64_t after = now_ns();
    for (std::size_t i = 0; i < readings.size(); ++i) watched[i].take(readings[i], after);
    return after - before;
  }

  // Such a source is slow to move, dear to read, for other processes too, and may hang: it is not watched.
  [[nodiscard]] bool may_hang() const { return !source->thread().empty(); }

  // The one reading of such a source; false if it hangs.
  bool read_once() {
    struct Once {
      std::vector<Reading> readings;
      std::int64_t before_ns;
      std::int64_t after_ns;
    };
    const auto once = run_within(kSingleTime, [source = source, readings = readings]() mutable {
      const std::int64_t before = now_ns();
      source->read(readings);
      return Once{std::move(readings), before, now_ns()};
    });
    if (!once) return false;
    for (std::size_t i = 0; i < watched.size(); ++i) watched[i].take(once->readings[i], once->after_ns);
    read_ns = static_cast<double>(once->after_ns - once->before_ns);
    return true;
  }

  std::shared_ptr<Source> source;  // shared with a reading that hangs
  std::vector<Reading> readings;
  std::vector<Watched> watched;
  double read_ns = 0.0;
};

void pin_to(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  ::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);
}

void observe(const std::vector<Candidate*>& candidates) {
  for (Candidate* candidate : candidates) {
    pin_to(candidate->source->channels().front().cpu);
    std::vector<std::int64_t> costs;
    for (const std::int64_t end = now_ns() + kPollNs; now_ns() < end;) costs.push_back(candidate->read());
    std::nth_element(costs.begin(), costs.begin() + static_cast<std::ptrdiff_t>(costs.size() / 2), costs.end());
    candidate->read_ns = static_cast<double>(costs[costs.size() / 2]);
    for (Watched& channel : candidate->watched) channel.see_period();
  }
  for (Candidate* candidate : candidates) {
    (void)candidate->read();
    for (Watched& channel : candidate->watched) channel.compared_joules = -channel.joules();
  }
  const std::int64_t end = now_ns() + kCompareNs;
  while (now_ns() < end) {
    std::this_thread::sleep_for(std::chrono::nanoseconds(kComparePauseNs));
    for (Candidate* candidate : candidates) (void)candidate->read();
  }
  for (Candidate* candidate : candidates) {
    for (Watched& channel : candidate->watched) {
      channel.compared_joules += channel.joules();
      if (channel.seen_period_ns == 0) channel.see_period();  // slower than the first watch was long
    }
  }
}

// On a thread of its own: readings are cheap only from the right CPU, and the caller's affinity is not ours to change.
void observe_apart(const std::vector<Candidate*>& candidates) {
  const WithoutSignals blocked;
  std::thread thread([&candidates] { observe(candidates); });
  thread.join();
}

std::string compared(const Watched& chosen, const Watched& other) {
  const double a = chosen.compared_joules;
  const double b = other.compared_joules;
  const double period_ns = static_cast<double>(std::max(chosen.seen_period_ns, other.seen_period_ns));
  const double steps = 2.0 * std::max(period_ns / static_cast<double>(kCompareNs), 0.02);
  const double quantum = 2.0 * std::max(chosen.info->joules_per_count, chosen.info->quantum_joules) +
                         2.0 * std::max(other.info->joules_per_count, other.info->quantum_joules);
  if (std::abs(a - b) <= std::max(a, b) * (kTolerance + steps) + quantum) return {};
  char text[200];
  std::snprintf(text, sizeof text, "%s counted %.4g J where %s counted %.4g J in the same %.0f ms",
                other.info->source.c_str(), b, chosen.info->source.c_str(), a, static_cast<double>(kCompareNs) * 1e-6);
  return text;
}

struct Contender {
  const Candidate* candidate;
  const Watched* channel;
  std::size_t standing;
  [[nodiscard]] double cost() const { return candidate->read_ns / static_cast<double>(candidate->watched.size()); }
};

// A counter that stamps its own updates beats any that does not: it says when it moved, however rarely it is read.
bool is_better(const Contender& a, const Contender& b) {
  const bool a_stamped = a.channel->info->stamp_tick_ns > 0.0;
  const bool b_stamped = b.channel->info->stamp_tick_ns > 0.0;
  if (a_stamped != b_stamped) return a_stamped;
  if (a.cost() * kSameCost < b.cost()) return true;
  if (b.cost() * kSameCost < a.cost()) return false;
  return a.standing < b.standing;
}

void refuse(std::vector<Refusal>& refusals, const ChannelInfo& channel, const std::string& reason) {
  refusals.push_back({channel.source, channel.path, reason, {}, 0});
}

// The platform counter stands above the packages in every total, so a dead or wrong one would spoil them all: firmware often
// leaves it unconnected, and of a board with several sockets only one package counts.
void drop_bad_platforms(std::vector<Choice>& choices, const std::map<std::string, double>& joules,
                        std::vector<Refusal>& refusals) {
  double inside = 0.0;
  for (const Choice& choice : choices) {
    if (choice.channel.domain == "package") inside += joules.at(choice.channel.name);
  }
  std::erase_if(choices, [&](const Choice& choice) {
    if (choice.channel.domain != "psys") return false;
    const double counted = joules.at(choice.channel.name);
    if (counted <= 0.0) {
      refuse(refusals, choice.channel, "the platform counter does not move: firmware leaves it unconnected here");
      return true;
    }
    const double quantum = std::max(choice.channel.joules_per_count, choice.channel.quantum_joules);
    if (counted + 2.0 * quantum < 0.9 * inside) {
      refuse(refusals, choice.channel, "the platform counter counts less than the packages that it should contain");
      return true;
    }
    return false;
  });
}

std::vector<Choice> choose(const std::vector<Candidate>& candidates, std::span<const std::string> order,
                           std::vector<Refusal>& refusals) {
  std::map<std::string, std::vector<Contender>> by_name;
  std::vector<std::string> names;  // in the order of discovery
  for (const Candidate& candidate : candidates) {
    for (const Watched& channel : candidate.watched) {
      const auto standing = static_cast<std::size_t>(
          std::find(order.begin(), order.end(), channel.info->source) - order.begin());
      if (!by_name.contains(channel.info->name)) names.push_back(channel.info->name);
      by_name[channel.info->name].push_back({&candidate, &channel, standing});
    }
  }
  std::vector<Choice> choices;
  std::map<std::string, double> joules;
  for (const std::string& name : names) {
    auto& contenders = by_name[name];
    const bool any_moved =
        std::any_of(contenders.begin(), contenders.end(), [](const Contender& c) { return c.channel->moves > 0; });
    const Contender* best = nullptr;
    for (const Contender& contender : contenders) {
      const Watched& channel = *contender.channel;
      if (!channel.is_right()) {
        refuse(refusals, *channel.info,
               channel.hangs          ? "a reading of " + name + " hangs"
               : channel.failures > 0 ? "readings of " + name + " fail" : name + " jumps as no counter does");
      } else if (any_moved && channel.moves == 0) {
        refuse(refusals, *channel.info, name + " does not move here, while another source sees it move");
      } else if (best == nullptr || is_better(contender, *best)) {
        best = &contender;
      }
    }
    if (best == nullptr) continue;
    Choice choice;
    choice.channel = *best->channel->info;
    choice.read_ns = best->candidate->read_ns;
    choice.seen_period_ns = best->channel->seen_period_ns;
    for (const Contender& contender : contenders) {
      if (&contender == best || !contender.channel->is_right()) continue;
      choice.others.push_back(contender.channel->info->source);
      const std::string difference = compared(*best->channel, *contender.channel);
      if (!difference.empty() && choice.disagreement.empty()) choice.disagreement = difference;
    }
    joules[name] = best->channel->joules();
    choices.push_back(std::move(choice));
  }
  drop_bad_platforms(choices, joules, refusals);
  return choices;
}

const Finder& finder_of(const std::string& name) {
  for (const Finder& finder : finders()) {
    if (finder.name == name) return finder;
  }
  std::string known;
  for (const Finder& finder : finders()) known.append(known.empty() ? "" : ", ").append(finder.name);
  throw Error(ErrorKind::kBadArgument, "no source is named '" + name + "'; there are " + known);
}

std::vector<Choice> survey_of(const Roots& roots, const std::vector<std::string>& names, std::vector<Refusal>& refusals) {
  Found found;
  for (const std::string& name : names) finder_of(name).find(roots, [](const ChannelInfo&) { return true; }, found);
  refusals.insert(refusals.end(), found.refusals.begin(), found.refusals.end());
  return compare_sources(std::move(found.sources), names, refusals);
}

// A GPU says nothing of what the rest of the machine takes; a superchip's module contains its processor.
bool covers_processor(const Choice& choice) { return choice.channel.gpu < 0 || choice.channel.domain == "module"; }

}  // namespace

std::vector<Choice> compare_sources(std::vector<std::unique_ptr<Source>> sources, std::span<const std::string> standing,
                                    std::vector<Refusal>& refusals) {
  if (sources.empty()) return {};
  std::vector<Candidate> candidates;
  candidates.reserve(sources.size());
  for (auto& source : sources) candidates.emplace_back(std::move(source));
  std::vector<Candidate*> watched;
  for (Candidate& candidate : candidates) {
    if (!candidate.may_hang()) {
      watched.push_back(&candidate);
    } else if (!candidate.read_once()) {
      for (Watched& channel : candidate.watched) channel.hangs = true;
    }
  }
  if (!watched.empty()) observe_apart(watched);
  return choose(candidates, standing, refusals);
}

const std::string& estimate_source() {
  static const std::string kName = "cpu_model";
  return kName;
}

std::span<const std::string> counter_sources() {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names;
    for (const Finder& finder : finders()) {
      if (finder.name != estimate_source()) names.push_back(finder.name);
    }
    return names;
  }();
  return kNames;
}

Survey survey(const Roots& roots, std::span<const std::string> sources, bool estimate) {
  Survey result;
  result.roots = roots;
  std::vector<std::string> names(sources.begin(), sources.end());
  if (names.empty()) names.assign(counter_sources().begin(), counter_sources().end());
  for (const std::string& name : names) (void)finder_of(name);
  result.choices = survey_of(roots, names, result.refusals);
  if (estimate && sources.empty() && std::none_of(result.choices.begin(), result.choices.end(), covers_processor)) {
    std::vector<Choice> estimates = survey_of(roots, {estimate_source()}, result.refusals);
    std::move(estimates.begin(), estimates.end(), std::back_inserter(result.choices));
  }
  std::vector<ChannelInfo> channels;
  for (const Choice& choice : result.choices) channels.push_back(choice.channel);
  nest(channels);
  for (std::size_t i = 0; i < channels.size(); ++i) result.choices[i].channel.parent = channels[i].parent;
  return result;
}

std::vector<std::unique_ptr<Source>> open_sources(const Survey& survey, std::span<const std::string> names) {
  std::map<std::string, std::set<std::string>> wanted;  // by source
  for (const std::string& name : names) {
    const auto choice = std::find_if(survey.choices.begin(), survey.choices.end(),
                                     [&](const Choice& c) { return c.channel.name == name; });
    if (choice == survey.choices.end()) throw Error(ErrorKind::kBadArgument, "this machine has no channel '" + name + "'");
    wanted[choice->channel.source].insert(name);
  }
  Found found;
  for (const auto& [source, channels] : wanted) {
    const std::size_t before = found.sources.size();
    finder_of(source).find(
        survey.roots, [&names_here = channels](const ChannelInfo& channel) { return names_here.contains(channel.name); }, found);
    std::set<std::string> missing = channels;
    for (std::size_t i = before; i < found.sources.size(); ++i) {
      for (const ChannelInfo& channel : found.sources[i]->channels()) missing.erase(channel.name);
    }
    if (missing.empty()) continue;
    const auto refusal = std::find_if(found.refusals.begin(), found.refusals.end(),
                                      [&name = source](const Refusal& r) { return r.source == name; });
    if (refusal == found.refusals.end()) {
      throw Error(ErrorKind::kUnavailable, *missing.begin() + " of " + source + " has gone since the machine was surveyed");
    }
    throw Error(ErrorKind::kUnavailable, source + ": " + refusal->reason, refusal->path, refusal->error, refusal->remedy);
  }
  return std::move(found.sources);
}

}  // namespace powerprobe
