// SPDX-License-Identifier: MIT
// Energy of intervals, and copies of edges.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

#include "capi/errors.hpp"
#include "capi/handle.hpp"
#include "capi/settle.hpp"
#include "core/clock.hpp"
#include "core/edge.hpp"

namespace powerprobe::capi {

static_assert(sizeof(pp_edge) == sizeof(Edge) && offsetof(pp_edge, t_ns) == offsetof(Edge, t_ns) &&
              offsetof(pp_edge, joules) == offsetof(Edge, joules) && offsetof(pp_edge, gap_ns) == offsetof(Edge, gap_ns) &&
              offsetof(pp_edge, read_ns) == offsetof(Edge, read_ns) && offsetof(pp_edge, flags) == offsetof(Edge, flags) &&
              offsetof(pp_edge, segment) == offsetof(Edge, segment));
static_assert(static_cast<std::uint32_t>(PP_FIRST) == kEdgeFirst && static_cast<std::uint32_t>(PP_QUIET) == kEdgeQuiet &&
              static_cast<std::uint32_t>(PP_WRAPPED) == kEdgeWrapped && static_cast<std::uint32_t>(PP_RESET) == kEdgeReset &&
              static_cast<std::uint32_t>(PP_AMBIGUOUS) == kEdgeAmbiguous &&
              static_cast<std::uint32_t>(PP_AFTER_RETRY) == kEdgeAfterRetry &&
              static_cast<std::uint32_t>(PP_LATE) == kEdgeLate && static_cast<std::uint32_t>(PP_STAMPED) == kEdgeStamped &&
              static_cast<std::uint32_t>(PP_DROPPED) == kEdgeDropped &&
              static_cast<std::uint32_t>(PP_FILTERED) == kEdgeFiltered &&
              static_cast<std::uint32_t>(PP_FROM_MODEL) == kEdgeEstimated);

std::int64_t deadline_after(std::int64_t wait_ns) {
  constexpr std::int64_t kLongestNs = INT64_C(1) << 60;  // thirty years
  if (wait_ns < 0) bad_argument("settle_ns is negative: " + std::to_string(wait_ns));
  return now_ns() + std::min(wait_ns, kLongestNs);
}

void settle(const Opened& opened, std::span<const std::size_t> parts, std::int64_t latest_ns, std::int64_t settle_ns) {
  const std::int64_t deadline_ns = deadline_after(settle_ns);
  Probe& probe = opened.probe();
  std::vector<std::size_t> late;
  for (const std::size_t part : parts) {
    if (latest_ns > probe.known_until_ns(part)) late.push_back(part);
  }
  if (late.empty()) return;
  if (const std::int64_t ahead_ns = latest_ns - now_ns(); ahead_ns > 0) {
    throw Error(ErrorKind::kOutOfRange, "end_ns lies " + std::to_string(ahead_ns) + " ns in the future");
  }
  if (settle_ns == 0 || !probe.is_running()) return;
  probe.mark(latest_ns)->wait_until(deadline_ns, late);
  for (const std::size_t part : late) {
    if (latest_ns > probe.known_until_ns(part) && probe.is_running() && probe.channel_stats(part).ended_ns == INT64_MAX) {
      throw Error(ErrorKind::kTimeout, probe.channels()[part].name + ": the counter did not step in the " +
                                           std::to_string(settle_ns) + " ns after the end of an interval");
    }
  }
}

namespace {

Energy energy_of(const Opened& opened, std::span<const std::size_t> parts, std::int64_t start_ns, std::int64_t end_ns,
                 std::int64_t settle_ns) {
  Energy sum;
  bool is_settled = false;
  for (const std::size_t part : parts) {
    if (const auto near = opened.probe().energy_near(part, start_ns, end_ns)) {
      add(sum, *near);
      continue;
    }
    if (!is_settled) settle(opened, parts, end_ns, settle_ns);
    is_settled = true;
    Energy one;
    opened.probe().energies(part, {&start_ns, 1}, {&end_ns, 1},
                            {{&one.joules, 1}, {&one.lower, 1}, {&one.upper, 1}, {&one.flags, 1}}, settle_ns == 0);
    add(sum, one);
  }
  return sum;
}

void add_all(const Energies& sum, const Probe& probe, std::size_t part, std::span<const std::int64_t> starts,
             std::span<const std::int64_t> ends, bool unsettled) {
  const std::size_t count = starts.size();
  std::vector<double> numbers(3 * count);
  std::vector<std::uint32_t> flags(sum.flags.size());
  const std::span<double> all(numbers);
  const Energies one{all.subspan(0, count), all.subspan(count, count), all.subspan(2 * count, count), flags};
  probe.energies(part, starts, ends, one, unsettled);
  for (std::size_t i = 0; i < count; ++i) {
    sum.joules[i] += one.joules[i];
    sum.lower[i] += one.lower[i];
    sum.upper[i] += one.upper[i];
    if (!flags.empty()) sum.flags[i] |= flags[i];
  }
}

}  // namespace
}  // namespace powerprobe::capi

namespace capi = powerprobe::capi;

extern "C" {

pp_status pp_energy(pp_probe* probe, uint32_t channel, int64_t start_ns, int64_t end_ns, int64_t settle_ns, pp_joules* energy) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    capi::need(energy, "energy");
    capi::need_size(energy->struct_size, sizeof(pp_joules), "energy");
    if (settle_ns < 0) capi::bad_argument("settle_ns is negative: " + std::to_string(settle_ns));
    if (end_ns < start_ns) capi::bad_argument("end_ns lies " + std::to_string(start_ns - end_ns) + " ns before start_ns");
    const powerprobe::Energy sum =
        capi::energy_of(*probe->opened, probe->opened->parts(channel), start_ns, end_ns, settle_ns);
    energy->flags = sum.flags;
    energy->joules = sum.joules;
    energy->lower = sum.lower;
    energy->upper = sum.upper;
  });
}

pp_status pp_energies(pp_probe* probe, uint32_t channel, size_t count, const int64_t* starts_ns, const int64_t* ends_ns,
                      int64_t settle_ns, double* joules, double* lower, double* upper, uint32_t* flags) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    const auto parts = probe->opened->parts(channel);
    if (settle_ns < 0) capi::bad_argument("settle_ns is negative: " + std::to_string(settle_ns));
    if (count == 0) return;
    capi::need(starts_ns, "starts_ns");
    capi::need(ends_ns, "ends_ns");
    capi::need(joules, "joules");
    capi::need(lower, "lower");
    capi::need(upper, "upper");
    const std::span starts(starts_ns, count);
    const std::span ends(ends_ns, count);
    capi::settle(*probe->opened, parts, *std::max_element(ends.begin(), ends.end()), settle_ns);
    const powerprobe::Energies out{
        {joules, count}, {lower, count}, {upper, count}, {flags, flags == nullptr ? 0 : count}};
    probe->opened->probe().energies(parts.front(), starts, ends, out, settle_ns == 0);
    for (const std::size_t part : parts.subspan(1)) {
      capi::add_all(out, probe->opened->probe(), part, starts, ends, settle_ns == 0);
    }
  });
}

pp_status pp_read_edges(const pp_probe* probe, uint32_t channel, uint64_t* next, pp_edge* edges, size_t capacity, size_t* count,
                        uint64_t* lost) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    capi::need(next, "next");
    capi::need(count, "count");
    if (capacity > 0) capi::need(edges, "edges");
    if (channel == PP_TOTAL) capi::bad_argument("channel: PP_TOTAL is a sum of channels, and has no edges");
    const powerprobe::Lease lease = probe->opened->probe().lease_from(probe->opened->parts(channel).front(), *next);
    const auto there = lease.edges();
    // Nothing is pinned where there is nothing from there on; an index that is not reached yet stays as it is.
    const std::uint64_t first = there.empty() ? *next : lease.first_index();
    *count = std::min(capacity, there.size());
    if (*count > 0) std::memcpy(edges, there.data(), *count * sizeof(pp_edge));
    if (lost != nullptr) *lost = first - *next;
    *next = first + *count;
  });
}

}  // extern "C"
