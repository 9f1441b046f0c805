// SPDX-License-Identifier: MIT
// How a test drives the fake libnvidia-ml.so.1: these are exported beside the functions of NVML; any thread.
#ifndef FAKE_NVML_FAKE_NVML_H
#define FAKE_NVML_FAKE_NVML_H

#ifdef __cplusplus
extern "C" {
#endif

// Replaces everything, call counts too, by this script (see script.h). Without one, the first call reads the file that the
// environment variable FAKE_NVML_SCRIPT names; without that either, there is no driver. Clients stay initialized.
void fake_nvml_script(const char* text);

// Calls that began since the script was given; of any function if NULL, for any board or none if -1.
unsigned long long fake_nvml_calls(const char* function, int board);

// Hangs that have begun are over: what hangs returns, and what is called from now on does not hang by them.
void fake_nvml_release(void);

// Script time stands still at t_ns until the next freeze or script.
void fake_nvml_freeze(long long t_ns);

// CLOCK_MONOTONIC of script time 0.
long long fake_nvml_start_ns(void);

// The time stamp, microseconds of CLOCK_REALTIME, of script time t_ns.
long long fake_nvml_wall_us(long long t_ns);

#ifdef __cplusplus
}
#endif

#endif
