// SPDX-License-Identifier: MIT
// The interface between the sampler and whatever has counters: what channels are there, and read them all now.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/edge.hpp"

namespace powerprobe {

enum class Provenance : std::uint8_t {
  kMeasured,    // a counter
  kIntegrated,  // from power readings
  kEstimated,   // a model
};

enum class ReadStatus : std::uint8_t {
  kOk,
  kRetry,  // this reading failed, the next may not
  kGone,   // the thing measured went away (CPU offline, driver unloaded); the series ends here
  kFatal,  // reading can never work again for a reason worth showing (see Reading::error)
  kNoNews,  // nothing that is worth keeping since the last reading; only channels that say themselves what was when (at_ns)
};

// One time series of one domain of one device from one source.
struct ChannelInfo {
  std::string name;    // by channel_name(): "package-0", "dram-1", "core-0-7"; unique within a probe
  std::string source;  // "rapl_perf", "replay", ...
  std::string domain;  // "package", "core", "uncore", "dram", "psys", "cpu" (the estimate), "gpu", "vram", "module"
  std::string path;    // what is read: a file, a register, a perf event; for people
  int package = -1;    // which one, as the kernel numbers them; -1 where the domain belongs to none
  int die = -1;        // only where a package has several dies with counters of their own
  int core = -1;       // only for the energy of a single core
  int gpu = -1;        // only for what belongs to a GPU: which one, in the order of NVML (that of the PCI bus)
  std::string reading;  // of power readings, which are integrated: "instant" or "average"; empty for counters
  std::string parent;  // name of the channel whose energy contains this one's; set by nest() in domains.hpp
  Provenance provenance = Provenance::kMeasured;

  double joules_per_count = 0.0;
  double quantum_joules = 0.0;         // the counter's own step where it is larger than one count; 0: one count
  std::uint64_t modulus = 0;           // counts until the counter is back at zero; 0: it never is
  std::int64_t update_period_ns = 0;   // how often the counter itself is expected to move; 0: not known
  std::int64_t stale_ns = 0;           // a value read is never older than this: the counter's longest update period
  double max_watts = 0.0;              // more than this is not possible; tells wraps from resets. 0: not known
  double stamp_tick_ns = 0.0;          // length of a tick of the hardware stamp; 0: readings carry none
  std::uint64_t stamp_modulus = 0;     // ticks until the stamp is back at zero
  bool filtered = false;               // the processor blurs the counter on purpose (Intel's energy filter, MSR 0xBC)
  int cpu = -1;                        // the CPU that reads it cheapest; -1: any
  std::int64_t least_pause_ns = 0;     // between two readings; 0: as many as one likes
  std::int64_t window_ns = 0;          // of a sensor: each of its readings is the mean over so long; 0: not known, or none

  // Which channel of the same source follows the power between this one's steps, so that they need not be joined by straight
  // lines; -1: none.
  int guide = -1;

  // What the bounds must allow for where a sensor does not tell all (series.hpp): the energy that each end of an interval can
  // have of its surroundings or lack, and what the sensor can miss in each update period because it looks only part of the time.
  double spill_joules = 0.0;
  double blind_joules = 0.0;

  // Only GPUs: how other programs call the board. `speed` orders them as CUDA does unless told otherwise; 0: not known.
  std::string uuid;                    // "GPU-..."
  std::string pci;                     // "00000000:65:00.0"
  std::string model;                   // "NVIDIA H100 80GB HBM3"
  std::vector<std::string> instances;  // UUIDs of its MIG instances, "MIG-..."
  double speed = 0.0;

  // Estimates only: the truth is somewhere between these two, whatever the estimate says. 0 and 0: a counter.
  double low_watts = 0.0;
  double high_watts = 0.0;
  std::string formula;  // what is estimated from what, with the coefficients and where they come from
};

struct Reading {
  std::uint64_t count = 0;  // the raw counter; only differences mean anything
  std::uint64_t stamp = 0;  // hardware time of the counter's last update; only with stamp_tick_ns
  ReadStatus status = ReadStatus::kOk;
  int error = 0;  // errno of a reading that failed
  std::uint64_t clock_ns = 0;  // of a clock of the source, at the very moment of reading; 0: it has none

  // Where the source knows by itself when the count was reached: within (at_ns - gap_ns, at_ns], CLOCK_MONOTONIC, and later than
  // what it said before. 0: it does not.
  std::int64_t at_ns = 0;
  std::int64_t gap_ns = 0;

  const Edge* edge = nullptr;  // what was read is an edge that another process has found: all else but `status` is of no account
};

// Opening is the constructor's business and may throw Error; reading never throws. A source is opened on any thread and
// then read by one thread only, its sampler.
class Source {
 public:
  Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;
  virtual ~Source() = default;

  [[nodiscard]] virtual const std::vector<ChannelInfo>& channels() const noexcept = 0;

  // Fills out[i] for channels()[i]. out.size() == channels().size(). Must not allocate.
  virtual void read(std::span<Reading> out) noexcept = 0;

  // Whether read() is to be called again at once, because it brought the earlier of several news of a channel. It then brings
  // the next without asking the device, and kNoNews for all other channels.
  [[nodiscard]] virtual bool has_more() const noexcept { return false; }

  // Whether it brings edges that another process finds, who looks where and when they come only if it is asked to.
  [[nodiscard]] virtual bool is_relay() const noexcept { return false; }

  // Of a relay: somebody here asks for the counters' steps until then. Called on the thread that reads, now and then while it is so.
  virtual void ask_until(std::int64_t /*t_ns*/) noexcept {}

  // Sources that give the same name here are read by one thread together. Reading one of these may hang: then the others go on
  // on another thread, and read() of this one is not called again before that call is over. Empty: a thread of its own.
  [[nodiscard]] virtual std::string_view thread() const noexcept { return {}; }
};

}  // namespace powerprobe
