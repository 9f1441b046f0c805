// SPDX-License-Identifier: MIT
// Why a register cannot be read, in words, and the command that would change it. Used while opening sources, on the
// caller's thread.
#pragma once

#include <filesystem>
#include <string>

#include "sources/found.hpp"

namespace powerprobe {

struct MsrDenial {
  std::string reason;
  std::string remedy;  // least privilege first; empty when nothing helps
};

// For the errno with which opening `file` (such as /dev/cpu/0/msr) failed.
MsrDenial explain_msr_error(int error, const std::filesystem::path& file, const Roots& roots);

}  // namespace powerprobe
