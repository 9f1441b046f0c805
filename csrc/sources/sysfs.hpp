// SPDX-License-Identifier: MIT
// Reading the kernel's small text files, and parsing what they hold. Used while opening sources, on the caller's thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace powerprobe {

// The file without white space at its ends. Throws Error (kPermission for EACCES and EPERM, else kUnavailable) with path and errno.
std::string read_text(const std::filesystem::path& file);

// The same, or nothing where it cannot be read.
std::optional<std::string> try_read_text(const std::filesystem::path& file);

// Whole text or nothing: no sign, no blanks, no trailing characters. Base 10, or 16 with or without 0x.
std::optional<std::uint64_t> parse_u64(std::string_view text, int base = 10);
std::optional<double> parse_double(std::string_view text);

// The kernel's list format: "0-3,8,10-11". Nothing when the text is not such a list.
std::optional<std::vector<int>> parse_cpu_list(std::string_view text);

}  // namespace powerprobe
