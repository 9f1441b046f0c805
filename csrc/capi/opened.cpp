// SPDX-License-Identifier: MIT
#include "capi/opened.hpp"

#include <fnmatch.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <set>
#include <string_view>
#include <utility>

#include "capi/errors.hpp"
#include "sources/domains.hpp"
#include "sources/survey.hpp"

namespace powerprobe::capi {
namespace {

constexpr std::int64_t kUsualPeriodNs = 1'000'000;  // also how often the counters of processors step
constexpr std::int64_t kShortestPeriodNs = 10'000;
constexpr std::int64_t kLongestPeriodNs = 1'000'000'000;
constexpr std::int64_t kUsualHistoryNs = 60'000'000'000;
constexpr std::int64_t kMostEdges = 1 << 28;  // per channel: 8 GiB

std::vector<std::string> split(const char* list, const char* name) {
  std::vector<std::string> parts;
  if (list == nullptr) return parts;
  std::string_view rest(list);
  for (;;) {
    const std::size_t comma = rest.find(',');
    if (comma == 0 || rest.empty()) bad_argument(std::string("options->") + name + " has an empty name: \"" + list + "\"");
    parts.emplace_back(rest.substr(0, comma));
    if (comma == std::string_view::npos) return parts;
    rest.remove_prefix(comma + 1);
  }
}

std::string listed(const std::vector<ChannelInfo>& channels) {
  std::string names;
  for (const ChannelInfo& channel : channels) names.append(names.empty() ? "" : ", ").append(channel.name);
  return names;
}

// The rules of powerprobe/channels.py, but for CUDA_VISIBLE_DEVICES: who writes C names the boards.
std::vector<std::string> select(const std::vector<ChannelInfo>& channels, const std::vector<std::string>& patterns) {
  std::vector<std::string> names;
  if (patterns.empty()) {
    std::set<std::string> there;
    for (const ChannelInfo& channel : channels) there.insert(channel.name);
    for (const ChannelInfo& channel : channels) {
      const std::string whole = channel.domain + "-" + std::to_string(channel.gpu);
      const bool is_beside = !channel.reading.empty() && channel.name != whole && there.contains(whole);
      if (channel.core < 0 && !is_beside) names.push_back(channel.name);
    }
    return names;
  }
  const auto matches = [](const std::string& pattern, const ChannelInfo& channel) {
    return ::fnmatch(pattern.c_str(), channel.name.c_str(), 0) == 0;
  };
  for (const std::string& pattern : patterns) {
    if (std::none_of(channels.begin(), channels.end(), [&](const ChannelInfo& c) { return matches(pattern, c); })) {
      bad_argument("options->channels: none matches \"" + pattern + "\"; there are " + listed(channels));
    }
  }
  for (const ChannelInfo& channel : channels) {
    if (std::any_of(patterns.begin(), patterns.end(), [&](const std::string& p) { return matches(p, channel); })) {
      names.push_back(channel.name);
    }
  }
  return names;
}

bool is_strict(std::int32_t strict) {
  if (strict == 0 || strict == 1) return strict == 1;
  if (strict != -1) bad_argument("options->strict must be 1, 0 or -1, not " + std::to_string(strict));
  const char* const variable = std::getenv("POWERPROBE_STRICT");
  return variable != nullptr && *variable != '\0' && std::string_view(variable) != "0";
}

[[noreturn]] void nothing_to_read(const std::vector<Refusal>& refusals) {
  const auto denied = std::find_if(refusals.begin(), refusals.end(),
                                   [](const Refusal& r) { return r.error == EACCES || r.error == EPERM; });
  const auto cause = denied != refusals.end() ? denied : std::find_if(refusals.begin(), refusals.end(), [](const Refusal& r) {
    return !r.remedy.empty();
  });
  std::string message = "no energy counter can be read on this machine";
  for (const Refusal& refusal : refusals) {
    message += "\n  " + refusal.source + ": " + (refusal.path.empty() ? "" : refusal.path + ": ") + refusal.reason;
  }
  const ErrorKind kind = denied != refusals.end() ? ErrorKind::kPermission : ErrorKind::kUnavailable;
  if (cause == refusals.end()) throw Error(kind, message);
  throw Error(kind, message, cause->path, cause->error, cause->remedy);
}

Roots roots_in(const char* root) {
  if (root == nullptr) return {};
  const std::filesystem::path top(root);
  // A folder that stands for the machine stands for its driver, too.
  return {top / "sys", top / "dev", top / "proc", top / "libnvidia-ml.so.1"};
}

SamplerOptions sampler_options(const pp_options& options) {
  if (options.period_ns != 0 && (options.period_ns < kShortestPeriodNs || options.period_ns > kLongestPeriodNs)) {
    bad_argument("options->period_ns must be 0 or 10000 to 1000000000, not " + std::to_string(options.period_ns));
  }
  if (options.history_ns < 0) bad_argument("options->history_ns is negative: " + std::to_string(options.history_ns));
  SamplerOptions result;
  if (options.period_ns != 0) result.mode = Mode::kPoll;
  result.period_ns = options.period_ns != 0 ? options.period_ns : kUsualPeriodNs;
  const std::int64_t edges = (options.history_ns != 0 ? options.history_ns : kUsualHistoryNs) / result.period_ns + 17;
  if (edges > kMostEdges) {
    bad_argument("options->history_ns: " + std::to_string(options.history_ns) + " ns are more than the " +
                 std::to_string(kMostEdges) + " edges that a ring holds");
  }
  result.capacity = static_cast<std::size_t>(edges);
  return result;
}

}  // namespace

Opened::Opened(std::shared_ptr<Probe> probe, std::span<const std::string> names) : probe_(std::move(probe)) {
  const auto& all = probe_->channels();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (std::find(names.begin(), names.end(), all[i].name) == names.end()) continue;
    channels_.push_back(all[i]);
    places_.push_back(i);
  }
  nest(channels_);
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    if (channels_[i].parent.empty()) roots_.push_back(places_[i]);
  }
}

std::uint32_t Opened::index_of(const std::string& name) const noexcept {
  for (std::uint32_t i = 0; i < channels_.size(); ++i) {
    if (channels_[i].name == name) return i;
  }
  return PP_TOTAL;
}

std::span<const std::size_t> Opened::parts(std::uint32_t channel) const {
  if (channel == PP_TOTAL) return roots_;
  if (channel >= places_.size()) {
    bad_argument("channel: there is no " + std::to_string(channel) + "; the probe has " + std::to_string(places_.size()));
  }
  return {&places_[channel], 1};
}

std::shared_ptr<Opened> open_private(const pp_options& options) {
  const SamplerOptions how = sampler_options(options);
  const auto sources = split(options.sources, "sources");
  const auto patterns = split(options.channels, "channels");
  const bool strict = is_strict(options.strict);
  if (strict && std::find(sources.begin(), sources.end(), estimate_source()) != sources.end()) {
    bad_argument("options->sources: " + estimate_source() + " is an estimate, and options->strict refuses those");
  }
  const Survey found = survey(roots_in(options.root), sources, !strict);
  if (found.choices.empty()) nothing_to_read(found.refusals);
  std::vector<ChannelInfo> channels;
  for (const Choice& choice : found.choices) channels.push_back(choice.channel);
  std::vector<std::string> names = select(channels, patterns);
  if (names.empty()) names = select(channels, {"*"});
  auto probe = std::make_shared<Probe>(open_sources(found, names), how);
  probe->start();
  return std::make_shared<Opened>(std::move(probe), names);
}

}  // namespace powerprobe::capi
