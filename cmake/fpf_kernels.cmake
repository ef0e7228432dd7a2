# Puts the kernels' sources into a header, so that a program carries them wherever it is moved.

# fpf_embed_kernels(<target>): include/fpf/kernel/**.cuh and kernel/shared, which the host reads, too ->
# <build>/include/fpf/kernel/sources.hpp, in the target's file set and so in the installed package.
function(fpf_embed_kernels target)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/include/fpf/kernel/*.cuh
       ${PROJECT_SOURCE_DIR}/include/fpf/kernel/shared/*.hpp)
  list(APPEND sources ${PROJECT_SOURCE_DIR}/include/fpf/weights/synthetic_values.hpp)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})
  set(entries "")
  foreach(source IN LISTS sources)
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR}/include OUTPUT_VARIABLE name)
    file(READ ${source} text)
    string(APPEND entries "    SourceText{\"${name}\", R\"kernel(${text})kernel\"},\n")
  endforeach()
  list(LENGTH sources count)
  set(header ${PROJECT_BINARY_DIR}/include/fpf/kernel/sources.hpp)
  file(CONFIGURE OUTPUT ${header} @ONLY CONTENT
"// The kernels' sources, as cmake/fpf_kernels.cmake found them. Generated: edit the .cuh files.
#pragma once

#include <fpf/kernel/host/nvrtc.hpp>

#include <array>

namespace fpf::kernel {

inline constexpr std::array<SourceText, @count@> embedded_sources{
@entries@};

}  // namespace fpf::kernel
")
  target_sources(${target} INTERFACE FILE_SET HEADERS BASE_DIRS ${PROJECT_BINARY_DIR}/include FILES ${header})
endfunction()
