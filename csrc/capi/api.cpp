// SPDX-License-Identifier: MIT
// The table of functions that the Python package offers as a capsule.
#include "capi/shared.hpp"

namespace powerprobe::capi {

const pp_api& api() noexcept {
  static constexpr pp_api kApi = {
      sizeof(pp_api),  PP_ABI_VERSION,   pp_version, pp_last_error, pp_open,     pp_close,         pp_channel_count,
      pp_channel,      pp_find_channel,  pp_now,     pp_mark,       pp_ask,      pp_release,       pp_energy,
      pp_energies,     pp_begin,         pp_end,     pp_region_energy, pp_region_free, pp_read_edges,
  };
  return kApi;
}

}  // namespace powerprobe::capi
