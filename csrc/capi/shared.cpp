// SPDX-License-Identifier: MIT
#include "capi/shared.hpp"

#include <unistd.h>

#include <atomic>
#include <mutex>

namespace powerprobe::capi {
namespace {

constexpr std::int64_t kSharedHistoryNs = 10'000'000'000;  // regions may be longer: their ends are settled while they are new

// Never freed. The child of a fork makes its own: in the parent's a thread that does not exist there may hold the mutex.
struct Registry {
  pid_t pid = ::getpid();
  std::mutex mutex;                // guards current; held while the machine is searched, so that this happens once
  std::weak_ptr<Opened> current;
};

std::atomic<Registry*> g_registry{nullptr};  // made: compare_exchange (release) -> load (acquire) of who finds it
std::atomic<Opener> g_opener{nullptr};       // set (release) when the extension is imported -> load (acquire) in open_shared()

Registry& registry() {
  Registry* there = g_registry.load(std::memory_order_acquire);
  while (there == nullptr || there->pid != ::getpid()) {
    auto own = std::make_unique<Registry>();
    if (g_registry.compare_exchange_strong(there, own.get(), std::memory_order_acq_rel)) return *own.release();
  }
  return *there;
}

}  // namespace

void set_shared_opener(Opener opener) noexcept { g_opener.store(opener, std::memory_order_release); }

std::shared_ptr<Opened> open_shared() {
  if (const Opener opener = g_opener.load(std::memory_order_acquire)) return opener();
  Registry& here = registry();
  const std::lock_guard lock(here.mutex);
  if (auto opened = here.current.lock()) return opened;
  pp_options options = PP_OPTIONS_INIT;
  options.history_ns = kSharedHistoryNs;
  auto opened = open_private(options);
  here.current = opened;
  return opened;
}

}  // namespace powerprobe::capi
