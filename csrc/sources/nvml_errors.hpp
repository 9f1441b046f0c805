// SPDX-License-Identifier: MIT
// What the library's return codes mean: for people who want to mend it, and for the next reading. Any thread.
#pragma once

#include <string>

#include "core/error.hpp"
#include "core/source.hpp"
#include "sources/nvml_api.hpp"

namespace powerprobe {

// `path` is what was asked: the library, or a board by its address; `board` its index (-1: none).
Error nvml_error(const NvmlApi& api, NvmlReturn code, const std::string& path, int board = -1);

// What the code of a reading means for the next one.
ReadStatus nvml_status(NvmlReturn code) noexcept;

// The nearest errno.
int nvml_errno(NvmlReturn code) noexcept;

}  // namespace powerprobe
