// SPDX-License-Identifier: MIT
// Opening, channels, time, and asking for edges.
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "capi/errors.hpp"
#include "capi/handle.hpp"
#include "capi/shared.hpp"
#include "core/clock.hpp"
#include "core/series.hpp"

namespace capi = powerprobe::capi;

extern "C" {

uint32_t pp_abi_version(void) { return PP_ABI_VERSION; }

const char* pp_version(void) { return POWERPROBE_VERSION; }

pp_status pp_open(const pp_options* options, pp_probe** probe) {
  if (probe != nullptr) *probe = nullptr;
  return capi::guarded([&] {
    capi::need(probe, "probe");
    if (options != nullptr) capi::need_size(options->struct_size, sizeof(pp_options), "options");
    auto opened = options == nullptr ? capi::open_shared() : capi::open_private(*options);
    *probe = new pp_probe{std::move(opened)};
  });
}

void pp_close(pp_probe* probe) {
  if (probe == nullptr) return;
  for (std::uint32_t i = probe->asked.load(std::memory_order_relaxed); i > 0; --i) probe->opened->probe().release();
  delete probe;
}

uint32_t pp_channel_count(const pp_probe* probe) {
  return probe == nullptr ? 0 : static_cast<std::uint32_t>(probe->opened->channels().size());
}

pp_status pp_channel(const pp_probe* probe, uint32_t channel, pp_channel_info* info) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    capi::need(info, "info");
    capi::need_size(info->struct_size, sizeof(pp_channel_info), "info");
    if (channel == PP_TOTAL) capi::bad_argument("channel: PP_TOTAL is a sum of channels, and has no description");
    (void)probe->opened->parts(channel);
    const powerprobe::ChannelInfo& it = probe->opened->channels()[channel];
    info->provenance = static_cast<std::uint32_t>(it.provenance);
    info->name = it.name.c_str();
    info->source = it.source.c_str();
    info->domain = it.domain.c_str();
    info->path = it.path.c_str();
    info->parent = probe->opened->index_of(it.parent);
    info->package = it.package;
    info->gpu = it.gpu;
    info->quantum_joules = powerprobe::EnergyModel::of(it).quantum_joules;
    info->max_watts = it.max_watts;
    info->update_period_ns = it.update_period_ns;
  });
}

pp_status pp_find_channel(const pp_probe* probe, const char* name, uint32_t* channel) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    capi::need(name, "name");
    capi::need(channel, "channel");
    *channel = probe->opened->index_of(name);
    if (*channel != PP_TOTAL) return;
    std::string there;
    for (const auto& it : probe->opened->channels()) there.append(there.empty() ? "" : ", ").append(it.name);
    capi::bad_argument("name: no channel is named \"" + std::string(name) + "\"; there are " + there);
  });
}

int64_t pp_now(void) { return powerprobe::now_ns(); }

int64_t pp_mark(pp_probe* probe) {
  const std::int64_t now = powerprobe::now_ns();
  if (probe == nullptr || probe->asked.load(std::memory_order_relaxed) != 0) return now;
  // Not again while half of it is left: the samplers look at what is written here, and each time would have to fetch it anew.
  if (probe->asked_until_ns.load(std::memory_order_relaxed) - now > capi::kLingerNs / 2) return now;
  const int error = errno;  // of whom a signal handler interrupted
  probe->opened->probe().ask_until(now + capi::kLingerNs);
  probe->asked_until_ns.store(now + capi::kLingerNs, std::memory_order_relaxed);
  errno = error;
  return now;
}

pp_status pp_ask(pp_probe* probe) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    powerprobe::Probe& native = probe->opened->probe();
    if (!native.is_running()) {
      throw powerprobe::Error(powerprobe::ErrorKind::kUnavailable, "the probe does not run in this process", {}, 0,
                              "open another with pp_open()");
    }
    native.ask();
    probe->asked.fetch_add(1, std::memory_order_relaxed);
    native.wait_in_step(powerprobe::now_ns() + capi::kFreshNs);
  });
}

pp_status pp_release(pp_probe* probe) {
  return capi::guarded([&] {
    capi::need(probe, "probe");
    std::uint32_t asked = probe->asked.load(std::memory_order_relaxed);
    do {
      if (asked == 0) capi::bad_argument("probe: nothing was asked for with this handle");
    } while (!probe->asked.compare_exchange_weak(asked, asked - 1, std::memory_order_relaxed));
    probe->opened->probe().release();
  });
}

}  // extern "C"
