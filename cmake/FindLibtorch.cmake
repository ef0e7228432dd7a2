# Finds libtorch inside a torch wheel or a LibTorch archive, and the CUDA headers that the wheel brings along.
# torch's own TorchConfig.cmake needs nvcc or a GPU to configure; fpf needs neither, so it looks for itself.
#
#   Libtorch_ROOT       the folder that holds include/ and lib/ (default: build/torch, made by cmake/setup.sh)
#   Libtorch::Libtorch  the imported target
#   Libtorch_VERSION    e.g. 2.11.0+cu130
include(FindPackageHandleStandardArgs)

find_path(Libtorch_INCLUDE_DIR ATen/core/Tensor.h PATH_SUFFIXES include)
find_library(Libtorch_LIBRARY torch PATH_SUFFIXES lib)
get_filename_component(Libtorch_HOME "${Libtorch_INCLUDE_DIR}" DIRECTORY)
if(EXISTS "${Libtorch_HOME}/version.py")
  file(STRINGS "${Libtorch_HOME}/version.py" version_line REGEX "^__version__ = ")
  string(REGEX REPLACE ".*'(.*)'.*" "\\1" Libtorch_VERSION "${version_line}")
elseif(EXISTS "${Libtorch_HOME}/build-version")
  file(STRINGS "${Libtorch_HOME}/build-version" Libtorch_VERSION)
endif()
if(Libtorch_INCLUDE_DIR AND Libtorch_VERSION AND Libtorch_VERSION VERSION_LESS 2.7 AND EXISTS "${Libtorch_HOME}/version.py")
  message(FATAL_ERROR "Libtorch ${Libtorch_VERSION} in ${Libtorch_HOME}: PyPI's torch wheels before 2.7 are built with "
                      "the pre-C++11 ABI and cannot be linked with the system's Boost. Use torch 2.7 or later, or a "
                      "LibTorch archive marked cxx11-abi.")
endif()
find_package_handle_standard_args(Libtorch REQUIRED_VARS Libtorch_LIBRARY Libtorch_INCLUDE_DIR
                                  VERSION_VAR Libtorch_VERSION
                                  REASON_FAILURE_MESSAGE "run cmake/setup.sh, or set Libtorch_ROOT to a torch wheel's folder")

if(Libtorch_FOUND AND NOT TARGET Libtorch::Libtorch)
  find_package(OpenMP REQUIRED COMPONENTS CXX)  # without it at::parallel_for, a template, runs on one thread and says nothing
  add_library(Libtorch::Libtorch INTERFACE IMPORTED)
  target_link_libraries(Libtorch::Libtorch INTERFACE OpenMP::OpenMP_CXX)
  set(lib_dir ${Libtorch_HOME}/lib)
  target_include_directories(Libtorch::Libtorch SYSTEM INTERFACE ${Libtorch_INCLUDE_DIR}
                             ${Libtorch_INCLUDE_DIR}/torch/csrc/api/include)
  target_compile_definitions(Libtorch::Libtorch INTERFACE AT_PER_OPERATOR_HEADERS)  # narrow includes compile twice as fast
  target_link_libraries(Libtorch::Libtorch INTERFACE ${lib_dir}/libtorch.so ${lib_dir}/libtorch_cpu.so ${lib_dir}/libc10.so)
  if(EXISTS ${lib_dir}/libtorch_cuda.so)
    # Nothing refers to libtorch_cuda's symbols, but its operators must register: keep it among the needed libraries.
    target_link_libraries(Libtorch::Libtorch INTERFACE ${lib_dir}/libc10_cuda.so
                          -Wl,--no-as-needed ${lib_dir}/libtorch_cuda.so -Wl,--as-needed)
    # Where the wheels really are: ninja takes a link's ".." away with the link, finds no header there, and compiles again.
    file(REAL_PATH ${Libtorch_HOME} wheel)
    cmake_path(GET wheel PARENT_PATH packages)
    file(GLOB cuda_headers ${packages}/nvidia/cu*/include ${packages}/nvidia/cuda_runtime/include)
    file(GLOB nccl_headers ${packages}/nvidia/nccl/include)
    target_include_directories(Libtorch::Libtorch SYSTEM INTERFACE ${cuda_headers} ${nccl_headers})
    target_compile_definitions(Libtorch::Libtorch INTERFACE FPF_WITH_CUDA=1)
  endif()
endif()
mark_as_advanced(Libtorch_INCLUDE_DIR Libtorch_LIBRARY)
