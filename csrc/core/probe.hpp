// SPDX-License-Identifier: MIT
// A set of samplers and the questions that can be asked of them. What the bindings and the C interface stand on.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/mark.hpp"
#include "core/sampler.hpp"
#include "core/source.hpp"

namespace powerprobe {

// Any thread may call anything. start() and stop() are idempotent; after stop() the rings can still be asked and viewed. In the
// child of a fork a probe does not run and cannot be started, but it has an heir.
class Probe {
 public:
  // Takes the first reading of every source; throws Error when one cannot be read. No thread exists before start().
  Probe(std::vector<std::unique_ptr<Source>> sources, const SamplerOptions& options);

  // In the child of a fork, of the child's copy of a probe, which has to outlive it: a probe that reads, from the memory that both
  // processes have, what the parent's probe finds, and has it look while somebody here asks. What the rings hold from before the
  // fork can be asked as well, and totals are the parent's. When the parent's process ends or its probe is stopped, all channels are
  // gone. Costs a thread for each sampler, which sleeps while nobody asks.
  [[nodiscard]] std::unique_ptr<Probe> heir() const;

  // Whether the process that reads the counters has ended: of an heir, or of a child's copy. Asks the kernel, so that it is known at
  // once.
  [[nodiscard]] bool is_orphan() const noexcept { return !(parent_ ? parent_ : process_)->is_there(); }

  void start();
  void stop() noexcept;
  [[nodiscard]] bool is_running() const noexcept;

  // All channels, in the order of their sources; `parent` is not set.
  [[nodiscard]] const std::vector<ChannelInfo>& channels() const noexcept { return channels_; }

  // While asked for, the samplers look at the counters as their mode says; ask_until() needs no release().
  void ask() noexcept;
  void release() noexcept;
  void ask_until(std::int64_t t_ns) noexcept;

  void watch(std::int64_t since_ns) noexcept;  // see Sampler
  void unwatch() noexcept;

  // After an ask: waits (bounded by deadline_ns) until every sampler has located its counters, so that the instant after it
  // has an edge close before it. Not those that may hang: their counters step so rarely that nobody would want to wait.
  void wait_in_step(std::int64_t deadline_ns) noexcept;

  void set_mode(Mode mode, std::int64_t period_ns) noexcept;

  // Throws Error (kUnavailable) when the probe does not run.
  [[nodiscard]] std::shared_ptr<const Mark> mark(std::int64_t t_ns);

  // Energy of many intervals on one channel; all spans of one length. Throws Error: kBadArgument for an interval that ends
  // before it starts, kOutOfRange before the first edge or when there is no edge behind an end yet (settle with mark()),
  // kOverrun for what is older than the ring, kGone past the end of a channel. `unsettled`: where there is no edge behind an
  // end yet it is answered all the same, with bounds as wide as what is not known.
  void energies(std::size_t channel, std::span<const std::int64_t> starts, std::span<const std::int64_t> ends, Energies out,
                bool unsettled = false) const;

  // The same for one interval among the newest edges, without allocating and without pinning the others: what energies() would say,
  // or nothing where that takes more (older edges, one behind the end, a guide) or throws.
  [[nodiscard]] std::optional<Energy> energy_near(std::size_t channel, std::int64_t start_ns, std::int64_t end_ns) const;

  // The energy between two marks of this probe, with flags of what happened meanwhile; only if both are known, else the state of one
  // that is not. Both are done on this channel.
  struct Between {
    MarkState state;
    Energy energy;
  };
  [[nodiscard]] Between between(std::size_t channel, const Mark& begin, const Mark& end) const noexcept;

  // What is wrong with reading a channel just now, for people; empty: nothing.
  [[nodiscard]] std::string trouble(std::size_t channel) const;

  // Up to when energies() can answer for a channel: there is an edge behind it, and its guide, if it has one, has told of that time
  // or was waited for long enough. INT64_MIN: nothing was read yet.
  [[nodiscard]] std::int64_t known_until_ns(std::size_t channel) const;

  // Energy from a mark, settled or not, until an instant that may have no edge behind it yet. Throws Error (kOutOfRange) when the
  // channel was not read by then.
  [[nodiscard]] Energy energy_until(std::size_t channel, const Mark& start, std::int64_t end_ns) const;

  // The newest edges (all with UINT64_MAX), pinned.
  [[nodiscard]] Lease lease_newest(std::size_t channel, std::uint64_t count) const;

  // Those from an index on that the ring still holds, pinned.
  [[nodiscard]] Lease lease_from(std::size_t channel, std::uint64_t index) const;

  [[nodiscard]] ChannelStats channel_stats(std::size_t channel) const noexcept;
  [[nodiscard]] PaceStats pace_stats(std::size_t channel) const noexcept;
  [[nodiscard]] std::size_t sampler_of(std::size_t channel) const noexcept { return places_[channel].sampler; }
  [[nodiscard]] std::size_t sampler_count() const noexcept { return samplers_.size(); }
  [[nodiscard]] SamplerStats sampler_stats(std::size_t sampler) const noexcept { return samplers_[sampler]->stats(); }

 private:
  struct Place {
    std::size_t sampler;
    std::size_t channel;
  };

  // A channel's edges and those of its guide, pinned.
  struct Pinned {
    Lease lease;
    std::optional<Lease> guide_lease;  // later: what the guide tells of these edges is in it if it was there in time
    std::int64_t settled_ns;           // edges seen by then can answer

    [[nodiscard]] std::span<const Edge> edges() const noexcept { return lease.edges(); }
    [[nodiscard]] std::span<const Edge> guide() const noexcept {
      return guide_lease ? guide_lease->edges() : std::span<const Edge>();
    }
  };

  [[nodiscard]] const Recorder& recorder(std::size_t channel) const noexcept;
  [[nodiscard]] Pinned pin(std::size_t channel) const;

  SamplerOptions options_;
  std::vector<ChannelInfo> channels_;
  std::vector<Place> places_;
  std::vector<std::unique_ptr<Sampler>> samplers_;
  std::vector<bool> may_hang_;  // by sampler
  std::shared_ptr<const Process> process_ = std::make_shared<Process>();  // for heirs
  std::shared_ptr<const Process> parent_;                                 // of an heir
  std::atomic<int> running_pid_{0};  // the process it runs in; 0: none. Relaxed: says whether marks are taken; orders nothing
};

}  // namespace powerprobe
