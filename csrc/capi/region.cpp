// SPDX-License-Identifier: MIT
// One long interval: two marks that the samplers fill in.
#include <memory>
#include <mutex>
#include <string>

#include "capi/errors.hpp"
#include "capi/handle.hpp"
#include "capi/settle.hpp"
#include "core/clock.hpp"

namespace capi = powerprobe::capi;

struct pp_region {
  std::shared_ptr<capi::Opened> opened;
  std::shared_ptr<const powerprobe::Mark> begin;
  mutable std::mutex mutex;                     // guards end
  std::shared_ptr<const powerprobe::Mark> end;  // null: it has not ended
};

namespace {

using powerprobe::Energy;
using powerprobe::Error;
using powerprobe::ErrorKind;
using powerprobe::Mark;
using powerprobe::MarkState;

Energy between(const powerprobe::Probe& probe, const Mark& begin, const Mark& end, std::size_t part) {
  const auto [state, energy] = probe.between(part, begin, end);
  if (state == MarkState::kKnown) return energy;
  const std::string& name = probe.channels()[part].name;
  if (state == MarkState::kOutside) throw Error(ErrorKind::kOutOfRange, name + " was not read before the region began");
  if (state == MarkState::kGone) throw Error(ErrorKind::kGone, name + " ended before the region did");
  const std::string trouble = probe.trouble(part);
  throw Error(ErrorKind::kTimeout, name + ": no edge came in time" + (trouble.empty() ? "" : "; " + trouble), {},
              probe.channel_stats(part).error);
}

}  // namespace

extern "C" {

pp_status pp_begin(pp_probe* probe, pp_region** region) {
  if (region != nullptr) *region = nullptr;
  return capi::guarded([&] {
    capi::need(probe, "probe");
    capi::need(region, "region");
    auto own = std::make_unique<pp_region>();
    own->opened = probe->opened;
    powerprobe::Probe& native = own->opened->probe();
    const std::int64_t now = powerprobe::now_ns();
    native.ask_until(now + capi::kLingerNs);
    if (native.is_running()) native.wait_in_step(now + capi::kFreshNs);
    own->begin = native.mark(powerprobe::now_ns());
    native.watch(own->begin->t_ns());
    *region = own.release();
  });
}

pp_status pp_end(pp_region* region) {
  const std::int64_t now = powerprobe::now_ns();
  return capi::guarded([&] {
    capi::need(region, "region");
    const std::lock_guard lock(region->mutex);
    if (region->end) capi::bad_argument("region has ended already");
    region->end = region->opened->probe().mark(now);
    region->opened->probe().unwatch();
  });
}

pp_status pp_region_energy(const pp_region* region, uint32_t channel, int64_t settle_ns, pp_joules* energy, int64_t* start_ns,
                           int64_t* end_ns) {
  return capi::guarded([&] {
    capi::need(region, "region");
    capi::need(energy, "energy");
    capi::need_size(energy->struct_size, sizeof(pp_joules), "energy");
    const auto parts = region->opened->parts(channel);
    const std::int64_t deadline_ns = capi::deadline_after(settle_ns);
    std::shared_ptr<const Mark> end;
    {
      const std::lock_guard lock(region->mutex);
      end = region->end;
    }
    if (!end) capi::bad_argument("region has not ended; call pp_end() first");
    if (start_ns != nullptr) *start_ns = region->begin->t_ns();
    if (end_ns != nullptr) *end_ns = end->t_ns();
    if (!region->begin->wait_until(deadline_ns, parts) || !end->wait_until(deadline_ns, parts)) {
      throw Error(ErrorKind::kTimeout,
                  "the counters did not step in the " + std::to_string(settle_ns) + " ns after the end of the region");
    }
    Energy sum;
    for (const std::size_t part : parts) capi::add(sum, between(region->opened->probe(), *region->begin, *end, part));
    energy->flags = sum.flags;
    energy->joules = sum.joules;
    energy->lower = sum.lower;
    energy->upper = sum.upper;
  });
}

void pp_region_free(pp_region* region) {
  if (region == nullptr) return;
  if (!region->end) region->opened->probe().unwatch();
  delete region;
}

}  // extern "C"
