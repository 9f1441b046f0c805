# find_package(powerprobe) gives powerprobe::powerprobe. Relative to this file, so the folder above may lie anywhere.
get_filename_component(_powerprobe_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET powerprobe::powerprobe)
  add_library(powerprobe::powerprobe SHARED IMPORTED)
  set_target_properties(
    powerprobe::powerprobe
    PROPERTIES IMPORTED_LOCATION "${_powerprobe_prefix}/lib/libpowerprobe.so.0"
               IMPORTED_SONAME "libpowerprobe.so.0"
               INTERFACE_INCLUDE_DIRECTORIES "${_powerprobe_prefix}/include"
  )
endif()
unset(_powerprobe_prefix)
