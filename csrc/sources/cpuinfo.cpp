// SPDX-License-Identifier: MIT
#include "sources/cpuinfo.hpp"

#include <algorithm>
#include <string_view>

#include "sources/sysfs.hpp"

namespace powerprobe {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

int number(std::string_view text) {
  const auto value = parse_u64(text);
  return value && *value <= 0xFFFF ? static_cast<int>(*value) : -1;
}

bool has_word(std::string_view text, std::string_view word) {
  while (!text.empty()) {
    const auto blank = std::min(text.find(' '), text.size());
    if (text.substr(0, blank) == word) return true;
    text.remove_prefix(std::min(blank + 1, text.size()));
  }
  return false;
}

}  // namespace

CpuIdentity read_cpuinfo(const std::filesystem::path& proc) {
  CpuIdentity cpu;
  const std::string text = try_read_text(proc / "cpuinfo").value_or("");
  for (std::string_view rest = text; !rest.empty();) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) {
      if (line.empty()) break;  // the end of the first CPU
      continue;
    }
    const std::string_view key = trimmed(line.substr(0, colon));
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (key == "vendor_id") cpu.vendor = value;
    if (key == "cpu family") cpu.family = number(value);
    if (key == "model") cpu.model = number(value);
    if (key == "stepping") cpu.stepping = number(value);
    if (key == "flags") cpu.hypervisor = has_word(value, "hypervisor");
  }
  return cpu;
}

}  // namespace powerprobe
