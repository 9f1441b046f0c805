// SPDX-License-Identifier: MIT
// Prints the layout of every struct of the C interface and its constants, for tests/capi/abi.
#include <stdio.h>

#include "powerprobe.h"

#define STRUCT(type) printf("struct %s %zu\n", #type, sizeof(type))
#define MEMBER(type, member) printf("  %s.%s %zu %zu\n", #type, #member, offsetof(type, member), sizeof(((type *)0)->member))
#define CONSTANT(name) printf("constant %s %lld\n", #name, (long long)(name))

int main(void) {
  STRUCT(pp_error);
  MEMBER(pp_error, struct_size);
  MEMBER(pp_error, status);
  MEMBER(pp_error, system_error);
  MEMBER(pp_error, reserved);
  MEMBER(pp_error, message);
  MEMBER(pp_error, path);
  MEMBER(pp_error, remedy);
  STRUCT(pp_options);
  MEMBER(pp_options, struct_size);
  MEMBER(pp_options, strict);
  MEMBER(pp_options, channels);
  MEMBER(pp_options, sources);
  MEMBER(pp_options, period_ns);
  MEMBER(pp_options, history_ns);
  MEMBER(pp_options, root);
  STRUCT(pp_channel_info);
  MEMBER(pp_channel_info, struct_size);
  MEMBER(pp_channel_info, provenance);
  MEMBER(pp_channel_info, name);
  MEMBER(pp_channel_info, source);
  MEMBER(pp_channel_info, domain);
  MEMBER(pp_channel_info, path);
  MEMBER(pp_channel_info, parent);
  MEMBER(pp_channel_info, package);
  MEMBER(pp_channel_info, gpu);
  MEMBER(pp_channel_info, reserved);
  MEMBER(pp_channel_info, quantum_joules);
  MEMBER(pp_channel_info, max_watts);
  MEMBER(pp_channel_info, update_period_ns);
  STRUCT(pp_joules);
  MEMBER(pp_joules, struct_size);
  MEMBER(pp_joules, flags);
  MEMBER(pp_joules, joules);
  MEMBER(pp_joules, lower);
  MEMBER(pp_joules, upper);
  STRUCT(pp_edge);
  MEMBER(pp_edge, t_ns);
  MEMBER(pp_edge, joules);
  MEMBER(pp_edge, gap_ns);
  MEMBER(pp_edge, read_ns);
  MEMBER(pp_edge, flags);
  MEMBER(pp_edge, segment);
  STRUCT(pp_api);
  MEMBER(pp_api, struct_size);
  MEMBER(pp_api, abi_version);
  MEMBER(pp_api, version);
  MEMBER(pp_api, last_error);
  MEMBER(pp_api, open);
  MEMBER(pp_api, close);
  MEMBER(pp_api, channel_count);
  MEMBER(pp_api, channel);
  MEMBER(pp_api, find_channel);
  MEMBER(pp_api, now);
  MEMBER(pp_api, mark);
  MEMBER(pp_api, ask);
  MEMBER(pp_api, release);
  MEMBER(pp_api, energy);
  MEMBER(pp_api, energies);
  MEMBER(pp_api, begin);
  MEMBER(pp_api, end);
  MEMBER(pp_api, region_energy);
  MEMBER(pp_api, region_free);
  MEMBER(pp_api, read_edges);
  CONSTANT(PP_OK);
  CONSTANT(PP_BAD_ARGUMENT);
  CONSTANT(PP_PERMISSION);
  CONSTANT(PP_UNAVAILABLE);
  CONSTANT(PP_OVERRUN);
  CONSTANT(PP_OUT_OF_RANGE);
  CONSTANT(PP_TIMEOUT);
  CONSTANT(PP_GONE);
  CONSTANT(PP_NO_MEMORY);
  CONSTANT(PP_INTERNAL);
  CONSTANT(PP_MEASURED);
  CONSTANT(PP_INTEGRATED);
  CONSTANT(PP_ESTIMATED);
  CONSTANT(PP_FIRST);
  CONSTANT(PP_QUIET);
  CONSTANT(PP_WRAPPED);
  CONSTANT(PP_RESET);
  CONSTANT(PP_AMBIGUOUS);
  CONSTANT(PP_AFTER_RETRY);
  CONSTANT(PP_LATE);
  CONSTANT(PP_STAMPED);
  CONSTANT(PP_DROPPED);
  CONSTANT(PP_FILTERED);
  CONSTANT(PP_FROM_MODEL);
  CONSTANT(PP_ABI_VERSION);
  CONSTANT(PP_TOTAL);
  CONSTANT(PP_SETTLE);
  return 0;
}
