// SPDX-License-Identifier: MIT
#include "sources/perf_pmu.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <string_view>
#include <system_error>

#include "core/error.hpp"
#include "sources/sysfs.hpp"

namespace powerprobe {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void refuse(const fs::path& file, const std::string& text, const std::string& expected) {
  throw Error(ErrorKind::kUnavailable, file.string() + " holds \"" + text + "\" where " + expected + " is expected",
              file.string());
}

// Where a term of an event goes: the bits of `config`.
struct Bits {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
};

// "config:0-7" or "config:3".
std::optional<Bits> parse_bits(std::string_view text) {
  constexpr std::string_view kField = "config:";
  if (!text.starts_with(kField)) return std::nullopt;
  text.remove_prefix(kField.size());
  const auto dash = text.find('-');
  const auto low = parse_u64(text.substr(0, dash));
  const auto high = dash == std::string_view::npos ? low : parse_u64(text.substr(dash + 1));
  if (!low || !high || *high < *low || *high > 63) return std::nullopt;
  return Bits{*low, *high};
}

// "event=0x02" or several such terms with commas between them; each term's bits are described by a file in format/.
std::uint64_t read_config(const Pmu& pmu, const fs::path& file) {
  const std::string text = read_text(file);
  std::uint64_t config = 0;
  std::string_view rest = text;
  while (true) {
    const auto comma = rest.find(',');
    const std::string_view term = rest.substr(0, comma);
    const auto equals = term.find('=');
    const std::string_view name = term.substr(0, equals);
    const auto value = equals == std::string_view::npos ? std::nullopt : parse_u64(term.substr(equals + 1), 16);
    if (!value || name.empty() || name.find('/') != std::string_view::npos)
      refuse(file, text, "a term such as event=0x02");
    const fs::path format = pmu.folder / "format" / name;
    const std::string bits_text = read_text(format);
    const auto bits = parse_bits(bits_text);
    if (!bits) refuse(format, bits_text, "a range of bits such as config:0-7");
    const std::uint64_t width = bits->high - bits->low + 1;
    if (width < 64 && *value >> width != 0) refuse(file, text, "a value that fits into " + bits_text);
    config |= *value << bits->low;
    if (comma == std::string_view::npos) return config;
    rest.remove_prefix(comma + 1);
  }
}

std::vector<std::string> list_events(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator entries(folder, error);
  if (error) {
    const bool denied = error.value() == EACCES || error.value() == EPERM;
    throw Error(denied ? ErrorKind::kPermission : ErrorKind::kUnavailable,
                "cannot list " + folder.string() + ": " + error.message(), folder.string(), error.value());
  }
  std::vector<std::string> events;
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    // energy-pkg.scale and energy-pkg.unit describe energy-pkg.
    std::string name = entries->path().filename();
    if (name.find('.') == std::string::npos) events.push_back(std::move(name));
  }
  std::sort(events.begin(), events.end());
  return events;
}

}  // namespace

Pmu read_pmu(const fs::path& folder) {
  Pmu pmu;
  pmu.folder = folder;
  pmu.name = folder.filename();

  const fs::path type_file = folder / "type";
  const std::string type_text = read_text(type_file);
  const auto type = parse_u64(type_text);
  if (!type || *type > std::numeric_limits<std::uint32_t>::max()) refuse(type_file, type_text, "the PMU's number");
  pmu.type = static_cast<std::uint32_t>(*type);

  const fs::path cpumask_file = folder / "cpumask";
  const std::string cpumask_text = read_text(cpumask_file);
  const auto cpus = parse_cpu_list(cpumask_text);
  if (!cpus || cpus->empty()) refuse(cpumask_file, cpumask_text, "a list of CPUs such as 0,16");
  pmu.cpus = *cpus;

  pmu.events = list_events(folder / "events");
  return pmu;
}

PmuEvent read_pmu_event(const Pmu& pmu, const std::string& event) {
  const fs::path file = pmu.folder / "events" / event;
  PmuEvent result;
  result.config = read_config(pmu, file);

  const fs::path scale_file = file.string() + ".scale";
  const std::string scale_text = read_text(scale_file);
  const auto scale = parse_double(scale_text);
  if (!scale || *scale <= 0.0) refuse(scale_file, scale_text, "a positive number");
  result.scale = *scale;

  result.unit = read_text(file.string() + ".unit");
  return result;
}

}  // namespace powerprobe
