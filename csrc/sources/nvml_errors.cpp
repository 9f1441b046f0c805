// SPDX-License-Identifier: MIT
#include "sources/nvml_errors.hpp"

#include <cerrno>

namespace powerprobe {

Error nvml_error(const NvmlApi& api, NvmlReturn code, const std::string& path, int board) {
  const int error = nvml_errno(code);
  const std::string which = board >= 0 ? std::to_string(board) : "N";
  switch (code) {
    case nvml::kDriverNotLoaded:
      return {ErrorKind::kUnavailable, "the NVIDIA driver is not loaded", path, error,
              "sudo modprobe nvidia; if that fails, reinstall the driver for this kernel"};
    case nvml::kVersionMismatch:
      return {ErrorKind::kUnavailable,
              "the library and the driver in the kernel are of different versions: the driver was updated while it was loaded",
              path, error,
              "reboot, or with nothing using the GPUs: sudo rmmod nvidia_drm nvidia_modeset nvidia_uvm nvidia && "
              "sudo modprobe nvidia; restart a container so that it gets the host's new library"};
    case nvml::kNoPermission:
      return {
          ErrorKind::kPermission, "this process may not use the devices /dev/nvidia*", path, error,
          "add the user to the group that owns /dev/nvidia* (ls -l /dev/nvidia*; often: sudo usermod -aG video $USER), or add the "
          "board to the container's devices (--gpus) or the job's cgroup"};
    case nvml::kGpuIsLost:
      return {ErrorKind::kGone, "the GPU has fallen off the bus", path, error,
              "reboot, and look for the reason with: sudo dmesg | grep -i xid"};
    case nvml::kResetRequired:
      return {ErrorKind::kUnavailable, "the GPU needs a reset before it can be used", path, error,
              "with nothing using it: sudo nvidia-smi --gpu-reset -i " + which + ", or reboot"};
    case nvml::kNotSupported:
      return {ErrorKind::kUnavailable, "the driver does not support this on this board", path, error, ""};
    case nvml::kTimeout:
      return {ErrorKind::kUnavailable, "the driver did not answer in time", path, error,
              "look for the reason with: sudo dmesg | grep -i -e xid -e nvrm"};
    default:
      break;
  }
  const char* const text = api.error_string == nullptr ? nullptr : api.error_string(code);
  return {ErrorKind::kUnavailable,
          "NVML answers " + std::to_string(code) + (text == nullptr ? std::string() : std::string(" (") + text + ")"), path, error,
          "look for the reason with: nvidia-smi; sudo dmesg | grep -i -e xid -e nvrm"};
}

ReadStatus nvml_status(NvmlReturn code) noexcept {
  switch (code) {
    case nvml::kSuccess:
      return ReadStatus::kOk;
    case nvml::kUninitialized:
    case nvml::kGpuIsLost:
    case nvml::kResetRequired:
    case nvml::kGpuNotFound:
      return ReadStatus::kGone;
    case nvml::kNotSupported:
    case nvml::kNoPermission:
      return ReadStatus::kFatal;
    default:
      return ReadStatus::kRetry;
  }
}

int nvml_errno(NvmlReturn code) noexcept {
  switch (code) {
    case nvml::kSuccess:
      return 0;
    case nvml::kUninitialized:
    case nvml::kDriverNotLoaded:
    case nvml::kGpuIsLost:
    case nvml::kResetRequired:
    case nvml::kGpuNotFound:
      return ENODEV;
    case nvml::kNoPermission:
      return EACCES;
    case nvml::kNotSupported:
    case nvml::kFunctionNotFound:
      return EOPNOTSUPP;
    case nvml::kTimeout:
      return ETIMEDOUT;
    default:
      return EIO;
  }
}

}  // namespace powerprobe
