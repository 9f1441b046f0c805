// SPDX-License-Identifier: MIT
#include "sources/nvml_api.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <map>
#include <mutex>
#include <utility>

#include "core/error.hpp"
#include "core/within.hpp"
#include "sources/nvml_errors.hpp"

namespace powerprobe {
namespace {

constexpr const char* kContainerRemedy =
    "start the container with --gpus all (and NVIDIA_DRIVER_CAPABILITIES=utility,compute)";

// Of one process: a child of fork() finds its parent's and makes its own, so that no lock is ever inherited.
struct Opened {
  pid_t pid = ::getpid();
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<const NvmlApi>> by_library;
};

// Never destroyed: threads that hang in the library may outlive main().
Opened& opened() {
  static std::atomic<Opened*> current{nullptr};  // partner: itself, below
  Opened* known = current.load(std::memory_order_acquire);
  while (known == nullptr || known->pid != ::getpid()) {
    auto mine = std::make_unique<Opened>();
    if (current.compare_exchange_strong(known, mine.get(), std::memory_order_acq_rel)) return *mine.release();
  }
  return *known;
}

template <typename Function>
void look_up(void* library, const char* symbol, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(library, symbol));
}

Error missing_library(const Roots& roots, const std::string& why) {
  const bool is_missing = why.find("No such file") != std::string::npos;
  if (!is_missing) {
    return {ErrorKind::kUnavailable, "the library cannot be loaded: " + why, roots.nvml, ELIBACC,
            "install the driver's package with the library for this processor"};
  }
  std::error_code ignored;
  if (std::filesystem::exists(roots.proc / "driver/nvidia/version", ignored)) {
    return {ErrorKind::kUnavailable, "the NVIDIA driver is loaded, but its library is not to be found here", roots.nvml, ENOENT,
            std::string(kContainerRemedy) + "; outside of containers install the driver's package with libnvidia-ml.so.1"};
  }
  return {ErrorKind::kUnavailable, "no NVIDIA driver here", roots.nvml, ENOENT,
          std::string("where there is an NVIDIA GPU: install its driver; in a container: ") + kContainerRemedy};
}

NvmlApi load(const Roots& roots) {
  void* const library = ::dlopen(roots.nvml.c_str(), RTLD_LAZY | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = ::dlerror();
    throw missing_library(roots, why == nullptr ? "" : why);
  }
  // The names with a version are what the library exports; those without are macros of its header.
  NvmlApi api;
  look_up(library, "nvmlInit_v2", api.init);
  look_up(library, "nvmlDeviceGetCount_v2", api.count);
  look_up(library, "nvmlDeviceGetHandleByIndex_v2", api.device);
  look_up(library, "nvmlErrorString", api.error_string);
  look_up(library, "nvmlSystemGetDriverVersion", api.driver_version);
  look_up(library, "nvmlDeviceGetUUID", api.uuid);
  look_up(library, "nvmlDeviceGetName", api.name);
  look_up(library, "nvmlDeviceGetPciInfo_v3", api.pci);
  look_up(library, "nvmlDeviceGetCudaComputeCapability", api.compute_capability);
  look_up(library, "nvmlDeviceGetNumGpuCores", api.cores);
  look_up(library, "nvmlDeviceGetMaxClockInfo", api.max_clock);
  look_up(library, "nvmlDeviceGetPowerManagementLimitConstraints", api.limits);
  look_up(library, "nvmlDeviceGetEnforcedPowerLimit", api.enforced_limit);
  look_up(library, "nvmlDeviceGetMigMode", api.mig_mode);
  look_up(library, "nvmlDeviceGetMaxMigDeviceCount", api.mig_count);
  look_up(library, "nvmlDeviceGetMigDeviceHandleByIndex", api.mig_device);
  look_up(library, "nvmlDeviceGetTotalEnergyConsumption", api.energy);
  look_up(library, "nvmlDeviceGetPowerUsage", api.power_usage);
  look_up(library, "nvmlDeviceGetFieldValues", api.field_values);
  look_up(library, "nvmlDeviceGetSamples", api.buffered);
  const char* const missing = api.init == nullptr     ? "nvmlInit_v2"
                              : api.count == nullptr  ? "nvmlDeviceGetCount_v2"
                              : api.device == nullptr ? "nvmlDeviceGetHandleByIndex_v2"
                                                      : nullptr;
  if (missing != nullptr) {
    throw Error(ErrorKind::kUnavailable, std::string("the library has no function ") + missing, roots.nvml, ENOSYS,
                "install a driver of version 331 or newer");
  }
  return api;
}

}  // namespace

std::shared_ptr<const NvmlApi> open_nvml(const Roots& roots, std::chrono::milliseconds time) {
  Opened& here = opened();
  {
    const std::lock_guard lock(here.mutex);
    const auto known = here.by_library.find(roots.nvml);
    if (known != here.by_library.end()) return known->second;
  }
  // Not under the lock, for it may hang. The library counts how often it is initialised, so two at once do no harm.
  const auto api = run_within(time, [roots] {
    NvmlApi loaded = load(roots);
    const NvmlReturn code = loaded.init();
    if (code != nvml::kSuccess) throw nvml_error(loaded, code, roots.nvml);
    return loaded;
  });
  if (!api) {
    throw Error(ErrorKind::kUnavailable,
                "the driver did not answer within " + std::to_string(time.count()) + " ms of being initialised", roots.nvml,
                ETIMEDOUT, "look for the reason with: nvidia-smi; sudo dmesg | grep -i -e xid -e nvrm");
  }
  const std::lock_guard lock(here.mutex);
  return here.by_library.try_emplace(roots.nvml, std::make_shared<const NvmlApi>(*api)).first->second;
}

}  // namespace powerprobe
